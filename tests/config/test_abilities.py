"""Callbacks that do not fit the task are refused when a recipe is read."""

from __future__ import annotations

import pytest

from genmods.config import registry
from genmods.config.builtins import BUILTINS, imported
from genmods.config.members import has_member
from genmods.config.parts import model_entry
from genmods.config.recipe import load
from genmods.config.reflect import find_class
from genmods.config.text import RecipeError
from genmods.core.abilities import WORDS

PARTS = "network: unet, process: rectified, prediction: flow"


@pytest.mark.parametrize(
    ("recipe", "changes", "message"),
    [
        ("cnn", ["--callbacks=[diffusion_strip]"], "diffusion_strip' requires a diffusion model of independent noise"),
        (
            "cnn",
            ["--callbacks=[sample_grid]"],
            "sample_grid' requires a generative model",
        ),
        ("cnn", ["--callbacks=[{name: evaluation, metrics: [fid]}]"], "evaluation' requires a generative model"),
        ("ddpm", ["--callbacks=[mistakes]"], "mistakes' requires a classifier, got the task 'diffusion'"),
        (
            "ddpm",
            [
                "--task={name: ot_flow, network: unet, process: rectified, prediction: flow}",
                "--callbacks=[ema, denoise_strip]",
            ],
            "callbacks[1]: the callback 'denoise_strip'",
        ),
        ("vae", ["--callbacks=[inpaint_strip]"], "inpaint_strip' requires a diffusion model"),
        ("latent_diffusion", ["--callbacks=[ema, inpaint_strip]"], "inpaint_strip' cannot be used with task.codec"),
        ("vae", ["--callbacks=[loss_by_noise]"], "loss_by_noise' requires a task with errors per noise level"),
        (
            "gan",
            ["--callbacks=[early_stopping]"],
            "early_stopping' requires a task with a metric to monitor",
        ),
    ],
)
def test_a_callback_for_another_task_is_refused(recipe, changes, message):
    with pytest.raises(RecipeError) as error:
        load(recipe, changes)
    assert message in str(error.value)


def test_a_codec_of_none_is_one_of_pixels():
    recipe = load("latent_diffusion", ["--callbacks=[inpaint_strip]", "--task.codec=null"])
    assert [part.entry.name for part in recipe.callbacks] == ["inpaint_strip"]


def test_a_monitor_of_its_own_is_enough():
    (callback,) = load("gan", ["--callbacks=[{name: early_stopping, monitor: val/margin}]"]).callbacks
    assert callback.given["monitor"] == "val/margin"


def test_the_source_says_what_the_classes_have():
    """The members read from the source of each built-in task and its model are those of the imported classes."""
    seen = set()
    for name in BUILTINS["task"]:
        task = registry.find("task", name)
        for entry in filter(None, (task, model_entry(task))):
            for ability in WORDS.keys() - {"monitor"}:  # which some constructors set
                has = getattr(imported(entry.target), ability, None) is not None
                assert has_member(find_class(entry.target), ability) == has, (entry.target, ability)
                seen.add((ability, has))
    assert len(seen) == 2 * (len(WORDS) - 1)


def test_required_members_are_known():
    required = {getattr(imported(target), "requires", None) for target in BUILTINS["callback"].values()}
    assert required - {None} == set(WORDS)
