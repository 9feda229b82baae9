"""A run: its recipe is resolved, its objects are built, and it is trained."""

from __future__ import annotations

from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger

from genmods.callbacks.contents import RunContents
from genmods.callbacks.ema import find_ema
from genmods.callbacks.precision import settle
from genmods.config import registry
from genmods.config.build import build
from genmods.config.check import From
from genmods.config.recipe import Recipe
from genmods.config.text import RecipeError
from genmods.core.errors import UserError
from genmods.core.plain import check_finite
from genmods.data.base import DataModule
from genmods.data.info import DataInfo
from genmods.runs.calibration import calibrate
from genmods.runs.checkpoint import Checkpoint
from genmods.runs.folders import place
from genmods.runs.loggers import build_loggers, running
from genmods.runs.reuse import resolve
from genmods.runs.trainer import make_trainer, refusals_in_one_line
from genmods.tasks.base import FitPlan, Task


def fit(recipe: Recipe, ckpt_path: str | None = None, quiet: bool = False) -> Path:
    """Train a recipe, or continue a run of it at `ckpt_path` ("last", a folder or a file); returns the run folder."""
    if not is_trained(recipe):
        raise UserError(f"{recipe.source}: there is nothing to train here, `genmods test` evaluates it")
    with place(recipe.name, ckpt_path, prefer="last") as at:
        before = Checkpoint.read(at.checkpoint) if at.checkpoint else None
        resolved = resolve(recipe, before)
        data = build_data(resolved)
        task = build_task(resolved, data.info, before)
        callbacks = [build(part, data.info.settings()) for part in resolved.callbacks]
        loggers = build_loggers(recipe, before)
        settings = recipe.trainer.given | ({"enable_progress_bar": False} if quiet else {})
        contents = _contents(recipe, resolved, data, loggers)
        trainer = make_trainer(at.folder, task, settings, [*callbacks, contents], loggers)
        if before is None:
            task.fit_statistics(data.examples())
        else:
            _check_continued(before, task, data, trainer)
        settle(trainer, settings["precision"], before.precision if before else None, quiet)
        with running(at.folder, recipe, loggers, data, before, trainer.precision):
            with refusals_in_one_line():
                trainer.fit(task, data, ckpt_path=at.checkpoint)
            calibrate(task, at.folder / "checkpoints", data, trainer)
    return at.folder


def is_trained(recipe: Recipe) -> bool:
    """Whether the recipe's task has anything to train."""
    return isinstance(recipe.task, From) or registry.resolve(recipe.task.entry).trainable  # type: ignore[attr-defined]


def build_data(recipe: Recipe) -> DataModule:
    """The data module of a recipe, with its order and augmentation from the recipe's seed."""
    data: DataModule = build(recipe.data)
    return data


def build_task(recipe: Recipe, info: DataInfo, before: Checkpoint | None = None) -> Task:
    """The task of a resolved recipe with its plan, initialised from the recipe's seed.

    Args:
        recipe: A recipe without `{from: RUN}`; see `resolve`.
        info: What the data says about the model.
        before: The checkpoint that the run resumes from.

    Raises:
        RecipeError: A part, or the optimizer, refuses its settings.
    """
    torch.manual_seed(recipe.seed)
    task: Task = build(recipe.task, info.settings())
    task.plan = FitPlan(
        optimizer=build(recipe.optimizer),
        schedule=build(recipe.schedule) if recipe.schedule else None,
        seed=recipe.seed,
        previous_optimizer=build(before.parsed("optimizer").optimizer) if before else None,
    )
    if task.trainable:
        try:
            task.plan.optimizer(task.groups())  # its settings are refused here, not once a run has begun
        except ValueError as error:
            raise RecipeError(recipe.optimizer.where, recipe.optimizer.path, str(error)) from error
    return task


def _contents(recipe: Recipe, resolved: Recipe, data: DataModule, loggers: list[Logger]) -> Callback:
    """What each checkpoint holds beside the weights: the recipe with a task that needs no earlier run."""
    plain = recipe.plain() | {"task": resolved.plain()["task"]}
    run_ids = {str(logger.name): getattr(logger, "run_id", None) for logger in loggers}
    return RunContents(plain, data.info, data.hash, run_ids)


def _check_continued(before: Checkpoint, task: Task, data: DataModule, trainer: Trainer) -> None:
    """Raises UserError where the run cannot be resumed so, before anything of it is touched."""
    for weights in (before.state_dict, before.averages):
        check_finite(task, weights)
    task.load_state_dict(before.state_dict)
    data.check_continued(before.content.get(type(data).__qualname__, {}), trainer.world_size)
    if ema := find_ema(trainer):
        ema.check_continued(before.content)
