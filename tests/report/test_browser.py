"""The report in a browser: nothing fails, nothing is fetched, all is shown, at desktop and phone width.

GENMODS_SCREENSHOTS names a folder for pictures of the pages, and GENMODS_RUNS real runs to show in place of made ones.
"""

import os
import shutil
from pathlib import Path

import pytest
from test_page import make_run

from genmods.report.page import write_report
from support.chromium import Browser

pytestmark = pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium (apt-get install chromium)")
SECTIONS = {"curves", "samples", "noise", "features", "evaluation", "recipe", "environment"}
CLIPPED = """[...document.querySelectorAll("h1, h2, h3, .value, .name, figure, svg, img")]
  .filter(e => { const box = e.getBoundingClientRect(); return box.right > innerWidth + 1 || box.left < -1; })
  .map(e => e.tagName + " " + e.className)"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module", params=["run", "comparison"])
def page(request, tmp_path_factory):
    """The page of one run, or of three, and the number of picture series on it."""
    root = tmp_path_factory.mktemp("pages")
    folders = [make_run(root / "r" / name, shift=0.1 * i) for i, name in enumerate("abc")]
    return write_report(folders[: 1 if request.param == "run" else 3], root / f"{request.param}.html")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_whole(browser, page, width, dark):
    browser.open(page, width, dark)
    sections = set(browser.run("[...document.querySelectorAll('h2')].map(h => h.id)"))
    assert sections >= SECTIONS and any(name.startswith("classes") for name in sections)
    assert browser.run("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert browser.run("document.images.length") == 4 * (1 if page.stem == "run" else 3)
    assert browser.run("document.querySelectorAll('.plot path').length") >= 5
    assert browser.run("document.documentElement.scrollWidth <= innerWidth") and browser.run(CLIPPED) == []
    background = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 200) == dark
    assert browser.faults == []
    assert [url for url in browser.requests if not url.startswith(("file:", "data:"))] == []


def test_sliders_and_buttons_do_something(browser, page):
    browser.open(page, 1280)
    state = "document.querySelector('.pictures img').src + document.querySelector('.plot').innerHTML"
    seen = {browser.run(state)}
    move = "(slider => {{ slider.value = slider.{end}; slider.dispatchEvent(new Event('input')); }})({which})"
    for script in (
        move.format(end="min", which="document.querySelector('.slide input')"),
        move.format(end="min", which="document.getElementById('smoothing')"),
        "[...document.querySelectorAll('.tools button')][0].click()",
    ):
        browser.run(script)
        assert browser.run(state) not in seen
        seen.add(browser.run(state))
    before = browser.run("getComputedStyle(document.body).backgroundColor")
    browser.run("document.getElementById('theme').click()")
    assert browser.run("getComputedStyle(document.body).backgroundColor") != before
    assert browser.faults == []


@pytest.mark.skipif("GENMODS_SCREENSHOTS" not in os.environ, reason="pictures to look at, by `nox -s browser`")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_screenshots(browser, page, width, dark):
    runs = [Path(run) for run in os.environ.get("GENMODS_RUNS", "").split()]
    if runs:
        page = write_report(runs[: 1 if page.stem == "run" else None], page)
    browser.open(page, width, dark)
    assert browser.faults == []
    name = f"{page.stem}_{width}_{'dark' if dark else 'light'}.png"
    browser.screenshot(Path(os.environ["GENMODS_SCREENSHOTS"]) / name)
