"""Parts of other distributions: found by entry point, used in a recipe; the faulty ones are named and left out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.installing import install

RECIPE = """
task:
  name: diffusion
  network: {name: striped, width: 4}
  process: cosine
  prediction: v
  sampler: lazy
  conditioning: unconditional
data: {name: stripes, count: 32, batch_size: 8}
trainer: {max_steps: 1}
"""
USE = """
import sys
from genmods.core.errors import UserError
from genmods.config.build import build
from genmods.config.recipe import load
for overrides in sys.argv[2:]:
    try:
        recipe = load(sys.argv[1], overrides.split())
        data = build(recipe.data)
        task = build(recipe.task, data.info.settings())
        print(type(task.model.denoiser.network).__name__, task.model.sampler.steps, data.info.image_size)
    except UserError as error:
        print(error)
"""
"""Builds the recipe with each list of overrides, and prints a line for each."""


def python(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=env, timeout=300)


def genmods(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return python(site, "-m", "genmods", *arguments)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "striped.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the good distribution."""
    folder = tmp_path_factory.mktemp("good") / "site"
    install("good", folder)
    return folder


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """A folder with the good distribution and every faulty one."""
    folder = tmp_path_factory.mktemp("crowd") / "site"
    for project in ("good", "broken", "exits", "usurper"):
        install(project, folder)
    return folder


def test_a_distribution_adds_a_network_a_sampler_and_a_data_source(site, recipe):
    checked = genmods(site, "check", str(recipe))
    assert (checked.returncode, checked.stderr) == (0, "")
    listed = genmods(site, "list", "network").stdout
    assert "striped" in listed and "genmods-striped" in listed and "One convolution" in listed
    assert "width: int = 3" in genmods(site, "show", "network", "striped").stdout
    used = python(site, "-c", USE, str(recipe), "")
    assert used.stdout == "Striped 2 8\n", used.stderr


def test_a_plugin_is_checked_like_a_built_in(site, recipe):
    result = genmods(site, "check", str(recipe), "--task.network.widht=3")
    assert result.returncode == 2
    assert "the network 'striped' of 'genmods-striped' has no setting 'widht'; did you mean 'width'?" in result.stderr


def test_faulty_distributions_are_named_and_break_nothing(crowd, recipe):
    listed = genmods(crowd, "list")
    assert listed.returncode == 0
    reports = listed.stderr.splitlines()
    for name, origin in (
        ("missing_module", "genmods-broken"),
        ("missing_class", "genmods-broken"),
        ("misspelled", "genmods-broken"),
        ("lost", "genmods-broken"),
        ("unet", "genmods-usurper"),
    ):
        assert sum(f"'{name}' of the distribution '{origin}' is ignored" in line for line in reports) == 1, name
    taken = [line for line in reports if "'lazy'" in line]
    assert len(taken) == 1 and "genmods-striped" in taken[0] and "genmods-usurper" in taken[0]
    assert "genmods.networks.unet:UNet" in genmods(crowd, "show", "network", "unet").stdout


def test_a_part_whose_import_fails_is_one_line_and_the_others_are_used(crowd, recipe):
    parts = "--task.network=unwell", "--task.sampler=goodbye", "--task.sampler=ddim --task.sampler.steps=3"
    used = python(crowd, "-c", USE, str(recipe), *parts)
    unwell, goodbye, fine = used.stdout.splitlines()
    assert "genmods-broken" in unwell and "RuntimeError: this package is unwell" in unwell
    assert "genmods-exits" in goodbye and "SystemExit" in goodbye
    assert fine == "Striped 3 8", used.stderr
