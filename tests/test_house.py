"""Violations of the package's rules, counted in its source; `python tests/support/house.py` prints the counts."""

from __future__ import annotations

import pytest

from support import house, reading


@pytest.mark.parametrize("name", house.COUNTS)
def test_there_is_none(name):
    offenders = house.COUNTS[name]()
    assert not offenders, "\n".join(offenders)


@pytest.fixture
def found(monkeypatch, tmp_path):
    """`found(count, source)`: what a count finds in a module `genmods.runs.planted` with that source, by its words."""
    name = tmp_path.name  # another one for each test, since a module is parsed once

    def found(count, source):
        path = tmp_path / f"{name}.py"
        path.write_text(source.replace("planted", name))
        monkeypatch.setitem(reading.FILES, f"genmods.runs.{name}", path)
        reading.classes.cache_clear()
        return [line.partition(": ")[2].replace(name, "planted") for line in count() if path.name in line]

    yield found
    reading.classes.cache_clear()


def test_tasks_are_found_by_name_and_by_text(found):
    source = (
        "from genmods.tasks.gan import GANTask\nfrom genmods.tasks.base import Task\nWORDS = {'GANTask': 'samples'}"
    )
    assert found(house.task_names, source) == ["GANTask", "GANTask"]


def test_a_process_beside_a_denoiser_is_found(found):
    source = (
        "def sampled(denoise, x, process): ...\n"
        "def hinted(model: Denoise, start: NoiseProcess): ...\n"
        "@dataclass\nclass Run:\n    denoiser: Denoiser\n    process: NoiseProcess\n"
        "def alone(process, prediction): ...\n"
    )
    assert sorted(found(house.denoiser_beside_process, source)) == ["Run", "hinted", "sampled"]


def test_modules_in_the_root_are_found(monkeypatch, tmp_path):
    for name in ("__init__", "__main__", "loose"):
        (tmp_path / f"{name}.py").touch()
    monkeypatch.setattr(house, "ROOT", tmp_path)
    assert house.modules_in_the_root() == ["loose.py:1: a module in the root"]


def test_a_circle_of_imports_is_found(found):
    (circle,) = found(house.import_circles, "def late():\n    from genmods.runs import planted")
    assert circle == "genmods.runs.planted -> genmods.runs.planted"


def test_options_in_messages_are_found(found):
    source = (
        "'''Text of --width.'''\n"
        "def refused(x):\n    raise ValueError(f'{x}: set --width')\n"
        "def said(x):\n    print('a -- b', 'a--b', '--height is ignored')\n"
    )
    assert sorted(found(house.options_in_messages, source)) == ["--height is ignored", ": set --width"]


def test_plurals_are_found(found):
    source = "def said(x):\n    print(f'{len(x)} images, {len(x)} of {x} runs, {sum(x):,} steps; {len(x)} is')\n"
    assert sorted(found(house.plurals, source)) == ["images", "steps"]


def test_missing_docstrings_are_found(found):
    source = (
        "from torch import nn\nfrom genmods.networks.base import Network\n"
        "class Shown(Network):\n    def forward(self, x): ...\n    def added(self): ...\n    def _hidden(self): ...\n"
        "class _Hidden:\n    def method(self): ...\n"
        "def told():\n    '''In words.'''\n"
        "class Denoises:\n    '''One.'''\n    def process(self): ...\n    def __call__(self, x, t): ...\n"
        "class Moves:\n    '''Not one.'''\n    def process(self): ...\n"
    )
    assert found(house.without_a_docstring, source) == ["the module", "Shown", "Shown.added", "Moves.process"]


def test_missing_shapes_are_found(found):
    source = (
        "from torch import Tensor\n"
        "def bare(x: Tensor) -> int:\n    '''Of x in [0, 1].'''\n"
        "def shaped(x) -> list[Tensor]:\n    '''Parts [B, C, H, W] of x.'''\n"
        "class Kept:\n    '''Takes images [B, C, H, W].'''\n    def method(self, x: Tensor): ...\n"
        "class Lost:\n    '''Takes images.'''\n    def method(self, x: Tensor | None): ...\n"
        "def plain(x: int) -> int:\n    '''No tensor.'''\n"
    )
    assert found(house.without_a_shape, source) == ["bare", "Lost.method"]
