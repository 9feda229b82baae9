"""The built documentation in a browser, from disk: nothing fails, nothing is fetched, pictures show, search finds.

GENMODS_SITE names the folder with the HTML, as `nox -s docs` sets it; GENMODS_SCREENSHOTS one for pictures of pages.
"""

import os
import shutil
from pathlib import Path

import pytest

from support.chromium import Browser

SITE = Path(os.environ.get("GENMODS_SITE", "absent"))
pytestmark = [
    pytest.mark.skipif(not SITE.is_dir(), reason="GENMODS_SITE names no site; nox -s docs builds one"),
    pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium (apt-get install chromium)"),
]
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


@pytest.mark.parametrize("name", ["index", "start", "guide/convolution", "guide/diffusion", "reference/parts/sampler"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_page_fits_the_screen(browser, name, width):
    browser.open(SITE / f"{name}.html", width)
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    if folder := os.environ.get("GENMODS_SCREENSHOTS"):
        browser.screenshot(Path(folder) / f"{name.replace('/', '_')}_{width}.png")


@pytest.mark.parametrize("words", ["inpainting", "v-prediction", "early stopping", "feature maps"])
def test_search_finds(browser, words):
    browser.open(SITE / "search.html", 1280)
    browser.run(f"location.search = '?q={words.replace(' ', '+')}'")
    found = """new Promise(done => { let tries = 0; const look = () => {
        const n = document.querySelectorAll('ul.search li').length;
        n || ++tries > 100 ? done(n) : setTimeout(look, 100); }; setTimeout(look, 1000); })"""
    for _ in range(3):  # the page reloads in between
        try:
            assert browser.run(found) > 0
            return
        except AssertionError:
            continue
    pytest.fail(f"nothing found for {words}")
