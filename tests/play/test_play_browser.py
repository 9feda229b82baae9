"""The playground in headless Chromium, by `nox -s play`: each use clicked through with the models of genmods.

GENMODS_SCREENSHOTS names a folder for pictures of the sections.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.chromium import Browser

pytestmark = [
    pytest.mark.skipif("GENMODS_PLAY" not in os.environ, reason="minutes; run by `nox -s play`"),
    pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium (apt-get install chromium)"),
]
WIDTHS = (1280, 390)


@pytest.fixture(scope="module")
def address():
    """A server of the bundled models, which ends with status 0 on Ctrl-C."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "genmods", "play", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    url = process.stdout.readline().strip()
    assert url == f"http://127.0.0.1:{port}/"
    yield url
    process.send_signal(2)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and rest.splitlines()[-1] == "stopped"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def until(browser, condition, seconds=300):
    """Waits until an expression on the page holds; on a loaded machine the models take minutes to load."""
    deadline = time.monotonic() + seconds
    while not browser.run(f"Boolean({condition})"):
        assert time.monotonic() < deadline, f"{condition}: {browser.run('document.body.innerText')}"
        time.sleep(0.1)


@pytest.fixture(params=WIDTHS)
def page(request, browser, address):
    """The page with its sections, at desktop and phone width; afterwards nothing was asked from elsewhere."""
    browser.open(address, request.param)
    until(browser, "document.querySelectorAll('#tabs button').length == 6")
    browser.width = request.param
    yield browser
    assert browser.faults == []
    assert {url for url in browser.requests if not url.startswith((address, "data:", "blob:"))} == set()
    assert browser.run("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the window"
    assert browser.run("document.getElementById('fault').hidden")


def open_section(page, name):
    page.run(f"document.querySelector('[data-name={name}]').click()")
    until(page, f"!document.getElementById('{name}').hidden")


def shot(page, name):
    until(page, "!document.querySelector('.busy')")
    if folder := os.environ.get("GENMODS_SCREENSHOTS"):
        page.screenshot(Path(folder) / f"play_{name}_{page.width}.png")


DRAW = """(([selector, points]) => {
  const canvas = document.querySelector(selector), box = canvas.getBoundingClientRect();
  canvas.setPointerCapture = () => {};
  const send = (type, [x, y]) => canvas.dispatchEvent(new PointerEvent(type, {
    pointerId: 1, clientX: box.left + x * box.width, clientY: box.top + y * box.height, bubbles: true }));
  send("pointerdown", points[0]);
  points.forEach(point => send("pointermove", point));
  send("pointerup", points[points.length - 1]);
})"""


def stroke(page, canvas, points):
    """Draws along points, shares of the side of a canvas, by events of a pointer."""
    page.run(f"{DRAW}({json.dumps([canvas, points])})")


def set_value(page, element, value, event="input"):
    """Sets a control, given by an expression, as a user does."""
    page.run(f"(s => {{ s.value = {json.dumps(value)}; s.dispatchEvent(new Event('{event}')); }})({element})")


LISTEN = """(() => {
  const inner = window.fetch;
  window.answers = {};
  window.fetch = async (...request) => {
    const response = await inner(...request);
    window.answers[String(request[0]).replace("api/", "")] = await response.clone().json();
    return response;
  };
})()"""

CLASSIFY = """(async pictures => {
  const { models } = await (await fetch("api/state")).json();
  const model = models.findIndex(m => m.uses.includes("classify") && !m.uses.includes("noise"));
  const ask = async image => {
    const body = JSON.stringify({ model, image }), headers = { "Content-Type": "application/json" };
    const { classes } = await (await fetch("api/classify", { method: "POST", headers, body })).json();
    return classes.reduce((a, b) => b.probability > a.probability ? b : a).name;
  };
  return Promise.all(pictures.map(ask));
})"""
"""The classes that the bundled classifier gives to pictures."""


SEVEN = [[0.25, 0.15], [0.5, 0.15], [0.75, 0.15], [0.65, 0.4], [0.5, 0.65], [0.42, 0.9]]


def test_a_drawn_digit_is_classified(page):
    open_section(page, "classify")
    stroke(page, "#classify canvas", SEVEN)
    until(page, "document.querySelectorAll('#classify .bars .bar').length == 10")
    until(page, "document.querySelector('#classify .bars span').textContent == '7'")
    until(page, "[...document.querySelectorAll('#classify figcaption')].some(f => f.textContent == 'Grad-CAM of 7')")
    assert page.run("document.querySelectorAll('#classify figure.small').length") >= 16
    shot(page, "classify")


def test_the_noise_level_is_dragged(page):
    open_section(page, "noise")
    until(page, "document.querySelectorAll('#noise figure img').length == 4")
    seen, errors = set(), []
    for value in (5, 50, 95):
        set_value(page, "document.querySelector('#noise input[type=range]')", value)
        wanted = f"σ/α {0.01 * 3000 ** (value / 100):.3g} "
        until(page, f"document.querySelector('#noise .numbers').textContent.startsWith('{wanted}')")
        seen.add(page.run("document.querySelector('#noise figure img').src"))
        errors.append(float(page.run("document.querySelector('#noise .numbers').textContent").split()[-1]))
        if value == 50:
            shot(page, "noise")
    assert len(seen) == 3
    assert errors[0] < 0.05 < errors[1] < errors[2], "less is known of a picture under more noise"


def test_a_painted_part_is_filled(page):
    open_section(page, "inpaint")
    until(page, "document.querySelectorAll('#inpaint canvas').length == 2")
    time.sleep(1)  # the sample
    stroke(page, "#inpaint canvas.mask", [[0.3, 0.4], [0.7, 0.4], [0.7, 0.55], [0.3, 0.55]])
    page.run(LISTEN)
    page.run("document.querySelector('#inpaint button.main').click()")
    until(page, "document.querySelectorAll('#inpaint .pictures figure').length == 6")
    fillings = page.run("[...document.querySelectorAll('#inpaint .pictures img')].map(i => i.src)")
    assert len(set(fillings[1:5])) == 4
    assert page.run("answers.inpaint.fillings") == fillings[1:5] and 0 < page.run("answers.inpaint.mean_spread") < 1
    shot(page, "inpaint")


def test_the_reverse_process_is_shown_step_by_step(page):
    open_section(page, "generate")
    until(page, "document.querySelectorAll('#generate figure').length == 2")
    first = page.run("document.querySelector('#generate figure img').src")
    set_value(page, "document.querySelectorAll('#generate select')[1]", "4", "change")
    page.run(LISTEN)
    page.run("document.querySelector('#generate button.main').click()")
    until(page, f"document.querySelector('#generate figure img').src != {first!r}")
    last = page.run("document.querySelector('#generate figure img').src")
    assert page.run(f"{CLASSIFY}(answers.generate.samples)").count("4") >= 7, "of 8 fours"
    set_value(page, "document.querySelector('#generate [aria-label=\"Step of the reverse process\"]')", 0)
    assert page.run("document.querySelector('#generate figure img').src") != last
    assert page.run("document.querySelector('#generate .numbers').textContent").startswith("call 1 of ")
    page.run("[...document.querySelectorAll('#generate button')].find(b => b.textContent == 'Play').click()")
    until(page, f"document.querySelector('#generate figure img').src == {last!r}")
    shot(page, "generate")


def test_between_two_pictures(page):
    open_section(page, "interpolate")
    until(page, "document.querySelectorAll('#interpolate figure.small').length == 9")
    seen = set()
    for value in (0, 4, 8):
        set_value(page, "document.querySelector('#interpolate input[type=range]')", value)
        seen.add(page.run("document.querySelector('#interpolate figure.wide img').src"))
    assert len(seen) == 3
    shot(page, "interpolate")


def test_two_models_side_by_side(page):
    open_section(page, "compare")
    until(page, "document.querySelectorAll('#compare .bars').length == 2")
    shot(page, "compare")


def test_two_browsers_at_once(browser, address, tmp_path):
    other = Browser(tmp_path / "profile")
    try:
        for one in (browser, other):
            one.open(address, 1280)
            until(one, "document.querySelectorAll('#tabs button').length == 6")
        for one in (browser, other):
            open_section(one, "generate")
        for one in (browser, other):
            until(one, "document.querySelectorAll('#generate figure').length == 2")
        assert browser.faults == other.faults == []
    finally:
        other.close()
