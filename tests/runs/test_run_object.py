"""`genmods.fit`: a recipe with settings in Python, and the run that comes of it."""

from __future__ import annotations

import signal
import threading

import pytest

import genmods
from genmods.config.recipe import load
from genmods.tracking.series import read_series
from support.small_runs import CNN, DIFFUSION, DIGITS, TRAINER

UNET = {"name": "unet", "width": 4, "multipliers": [1], "blocks": 1, "attention": []}
RECIPE = {"name": "small", "seed": 1, "task": {**DIFFUSION, "network": UNET}, "data": DIGITS, "trainer": TRAINER}


@pytest.fixture(scope="module")
def run(workplace):
    return genmods.fit(RECIPE, task={"sampler": {"name": "ddim", "steps": 2}}, trainer={"max_steps": 3})


def test_settings_replace_those_of_the_recipe(run):
    saved = load(run.folder / "recipe.yaml").plain()
    assert saved["trainer"]["max_steps"] == 3 and saved["task"]["network"]["width"] == 4
    assert saved["task"]["sampler"]["name"] == "ddim" and saved["data"]["limit"] == 200


def test_a_run_has_a_folder_figures_and_a_model(run):
    assert run.folder.parent.name == "small" and (run.folder / "checkpoints/last.ckpt").is_file()
    series = read_series(run.folder / "metrics.csv")
    assert run.figures["val/loss"] == series["val/loss"][-1][1] and "train/parameters" in series
    assert {name.partition("/")[0] for name in run.figures} == {"val"}
    assert run.sample(3, {"label": 1}).shape == (3, 1, 8, 8)
    assert repr(run).startswith(f"Run({run.folder}, val/loss ") and run.steps == 3 and "\n" not in repr(run)
    assert genmods.load(run).process.levels is None


def test_a_run_is_resumed(run):
    more = genmods.fit(RECIPE, ckpt_path=run, trainer={"max_steps": 4})
    assert more.folder == run.folder and more.steps == 4


def test_a_shipped_recipe_by_name_in_a_thread(workplace):
    handlers, found = signal.getsignal(signal.SIGTERM), []
    small = {"task": {"network": CNN}, "data": {"limit": 200}, "trainer": TRAINER}

    def work():
        found.append(genmods.fit("cnn", **small, callbacks=[{"name": "ema", "decays": [0.9]}]))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    (run,) = found
    assert run.steps == 2 and signal.getsignal(signal.SIGTERM) is handlers
    with pytest.raises(genmods.UserError, match="a Classifier does not generate images"):
        run.sample(1)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"trainer": {"max_stepz": 1}}, "settings: trainer.max_stepz: .*did you mean 'max_steps'"),
        ({"trainr": {"max_steps": 1}}, "settings: trainr: a recipe has no section 'trainr'; did you mean 'trainer'"),
        (
            {"task": {"network": {"width": "wide"}}},
            "settings: task.network.width: width must be an int, got 'wide'",
        ),
        ({"task": {"network": {"name": 3}}}, "settings: task.network.name: expected a name, got '3'"),
    ],
)
def test_mistakes_are_one_line(workplace, settings, line):
    with pytest.raises(genmods.UserError, match=line) as error:
        genmods.fit(RECIPE, **settings)
    assert "\n" not in str(error.value)
