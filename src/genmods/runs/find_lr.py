"""The learning-rate range test: the loss for an increasing learning rate; writes no run folder."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.tuner.tuning import Tuner
from torch.optim import Optimizer

from genmods.callbacks.precision import settle
from genmods.config.recipe import Recipe
from genmods.core.errors import UserError
from genmods.runs.fit import build_data, build_task, is_trained
from genmods.runs.reuse import resolve
from genmods.runs.trainer import make_trainer, refusals_in_one_line


def in_proportion(make: Callable[..., Optimizer], groups: list[dict[str, Any]]) -> Optimizer:
    """The optimizer `make(groups)` for a range test, which sets one rate for all groups; steps keep their ratios.

    The ratio is 1 for the optimizer's `lr`, and another one for Muon's `adam_lr` and for groups with an `lr_scale`.
    """
    optimizer = make(groups)
    base = optimizer.defaults["lr"]
    if base <= 0:
        raise UserError(f"optimizer.lr must be above 0 for a range test, got {base:g}")
    ratios = [group["lr"] * group.get("lr_scale", 1.0) / base for group in optimizer.param_groups]

    def scale(optimizer: Optimizer, *_: Any) -> None:
        for group, ratio in zip(optimizer.param_groups, ratios, strict=True):
            group["lr"] *= ratio  # until the schedule sets the next one

    optimizer.register_step_pre_hook(scale)
    return optimizer


class RangeTest(NamedTuple):
    """Learning rates, the smoothed loss at each, and the rate of its steepest descent, or None."""

    rates: list[float]
    losses: list[float]
    suggestion: float | None


def find_lr(recipe: Recipe, least: float = 1e-6, most: float = 1.0, steps: int = 100) -> RangeTest:
    """Trains for `steps` steps with a learning rate that grows from `least` to `most` by a constant factor.

    It is the optimizer's `lr`; the other rates grow in proportion.
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
    task.plan = replace(task.plan, optimizer=partial(in_proportion, task.plan.optimizer))
    settings = recipe.trainer.given | {"enable_progress_bar": False, "num_sanity_val_steps": 0}
    with tempfile.TemporaryDirectory() as folder, refusals_in_one_line():
        trainer = make_trainer(Path(folder), task, settings, [], [])
        task.fit_statistics(data.examples())
        settle(trainer, task, settings["precision"], None, quiet=True)
        found = Tuner(trainer).lr_find(
            task, datamodule=data, min_lr=least, max_lr=most, num_training=steps, update_attr=False
        )
    assert found is not None
    return RangeTest(found.results["lr"], found.results["loss"], found.suggestion())
