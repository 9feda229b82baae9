"""The learning-rate range test: the loss for an increasing learning rate; writes no run folder."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

from lightning.pytorch.tuner.tuning import Tuner

from genmods.callbacks.precision import settle
from genmods.config.recipe import Recipe
from genmods.core.errors import UserError
from genmods.runs.fit import build_data, build_task, is_trained
from genmods.runs.reuse import resolve
from genmods.runs.trainer import make_trainer, refusals_in_one_line


class RangeTest(NamedTuple):
    """Learning rates, the smoothed loss at each, and the rate of its steepest descent, or None."""

    rates: list[float]
    losses: list[float]
    suggestion: float | None


def find_lr(recipe: Recipe, least: float = 1e-6, most: float = 1.0, steps: int = 100) -> RangeTest:
    """Trains for `steps` steps with a learning rate that grows from `least` to `most` by a constant factor.

    Ends early if the loss diverges (Smith, Cyclical Learning Rates, WACV 2017). Raises UserError for a recipe without
    training or an invalid range.
    """
    if not is_trained(recipe):
        raise UserError(f"{recipe.source}: nothing to train")
    if not 0 < least < most or steps < 10:
        raise UserError(f"the rates must grow from above 0 in at least 10 steps, got {least:g}, {most:g} and {steps}")
    resolved = resolve(recipe)
    data = build_data(resolved)
    task = build_task(resolved, data.info)
    settings = recipe.trainer.given | {"enable_progress_bar": False, "num_sanity_val_steps": 0}
    with tempfile.TemporaryDirectory() as folder, refusals_in_one_line():
        trainer = make_trainer(Path(folder), task, settings, [], [])
        task.fit_statistics(data.examples())
        settle(trainer, settings["precision"], None, quiet=True)
        found = Tuner(trainer).lr_find(
            task, datamodule=data, min_lr=least, max_lr=most, num_training=steps, update_attr=False
        )
    assert found is not None
    return RangeTest(found.results["lr"], found.results["loss"], found.suggestion())
