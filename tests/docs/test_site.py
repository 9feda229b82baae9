"""The built documentation in a browser, from disk: nothing fails, nothing is fetched, pictures show, search finds.

GENMODS_SITE names the folder with the HTML, as `nox -s docs` sets it; GENMODS_SCREENSHOTS one for pictures of pages.
"""

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

import pytest

from support.chromium import Browser

SITE = Path(os.environ.get("GENMODS_SITE", "absent"))
pytestmark = [
    pytest.mark.skipif(not SITE.is_dir(), reason="GENMODS_SITE names no site; nox -s docs builds one"),
    pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium (apt-get install chromium)"),
]
SHOWN = (
    "index",
    "start",
    "guide/learning",
    "guide/convolution",
    "guide/diffusion",
    "guide/likelihood",
    "howto/export",
    "results",
    "reference/cli",
    "reference/parts/sampler",
    "reference/api/genmods.networks",
)
PAGES = sorted(SITE.rglob("*.html")) if SITE.is_dir() else []


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(SITE).as_posix())
def test_a_page_shows_without_faults_or_requests(browser, page):
    browser.open(page, 1280)
    assert browser.run("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert browser.faults == []
    assert [url for url in browser.requests if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.mark.parametrize("name", SHOWN)
@pytest.mark.parametrize("width", [1280, 390])
def test_a_page_fits_the_screen(browser, name, width):
    browser.open(SITE / f"{name}.html", width)
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    if folder := os.environ.get("GENMODS_SCREENSHOTS"):
        browser.screenshot(Path(folder) / f"{name.replace('/', '_')}_{width}.png")


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("inpainting", "guide/inpainting"),
        ("v-prediction", "guide/diffusion"),
        ("early stopping", "guide/training"),
        ("feature maps", "guide/convolution"),
        ("UNet", "reference/api/genmods.networks"),
    ],
)
def test_search_finds(browser, words, page):
    browser.open(SITE / "search.html", 1280)
    browser.run(f"location.search = '?q={words.replace(' ', '+')}'")
    deadline, found = time.monotonic() + 60, []
    while f"{page}.html" not in found and time.monotonic() < deadline:
        time.sleep(0.2)  # the page reloads, and adds one result after the other
        with suppress(AssertionError):
            links = (
                "[...document.querySelectorAll('ul.search li > a')].map(a => a.getAttribute('href').split(/[?#]/)[0])"
            )
            found = browser.run(links)
    assert f"{page}.html" in found
