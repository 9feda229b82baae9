"""A recipe trained: data, task, loggers and callbacks built, Lightning started, the run folder filled."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from genmods.callbacks.ema import find_ema
from genmods.callbacks.precision import settle
from genmods.config import registry
from genmods.config.build import build
from genmods.config.check import From
from genmods.config.recipe import Recipe
from genmods.config.text import RecipeError
from genmods.core import checkpoint as files
from genmods.core.errors import UserError
from genmods.data.images import to_float
from genmods.data.module import ImageData
from genmods.data.splits import shuffled
from genmods.models import Calibrates
from genmods.runs import folders, reuse
from genmods.runs import loggers as logs
from genmods.runs.calibration import calibrate
from genmods.runs.folders import Place, place
from genmods.runs.trainer import make_trainer, refusals_in_one_line
from genmods.tasks.base import Task


def build_data(recipe: Recipe) -> ImageData:
    """The data module of a recipe, with its order and augmentation from the recipe's seed."""
    data: ImageData = build(recipe.data)
    return data


def build_task(recipe: Recipe, facts: dict[str, Any]) -> Task:
    """The task of a recipe with its optimizer and schedule, initialised from the recipe's seed."""
    torch.manual_seed(recipe.seed)
    task: Task = build(recipe.task, facts, partial(reuse.inject, facts))
    task.seed = recipe.seed
    task.optimizer = build(recipe.optimizer)
    if task.trainable:
        try:
            task.optimizer(task.groups())  # its settings are refused here, not once a run has begun
        except ValueError as error:
            raise RecipeError(recipe.optimizer.where, recipe.optimizer.path, str(error)) from error
    task.schedule = build(recipe.schedule) if recipe.schedule else None
    return task


def fit(recipe: Recipe, ckpt_path: str | None = None, quiet: bool = False) -> Path:
    """Train a recipe, or continue a run of it at `ckpt_path` ("last", a folder or a file); returns the run folder."""
    if not is_trained(recipe):
        raise UserError(f"{recipe.source}: there is nothing to train here; use `genmods test --config {recipe.source}`")
    with place(recipe, ckpt_path, prefer="last") as at:
        _train(recipe, at, quiet)
    return at.folder


def _train(recipe: Recipe, at: Place, quiet: bool) -> None:
    state = files.load(at.checkpoint) if at.checkpoint else {}
    recipe = reuse.continued(recipe, state) if state else recipe
    data = build_data(recipe)
    facts = data.facts()
    task = build_task(recipe, facts)
    loggers = logs.build_loggers(recipe, state)
    callbacks = [build(part, facts, partial(reuse.inject, facts)) for part in recipe.callbacks]
    if not state:
        task.warm_start(_examples(data))
    settings = recipe.trainer.given | ({"enable_progress_bar": False} if quiet else {})
    trainer = make_trainer(at.folder, task, settings, callbacks, loggers, _contents(recipe, facts, data, loggers))
    if state:
        _refuse_unlike(state, trainer, task, data)
    settle(trainer, settings["precision"], state.get("precision"), quiet)
    try:
        logs.begin(at.folder, recipe, loggers, data, state.get("global_step"), trainer.precision)
        with refusals_in_one_line():
            trainer.fit(task, data, ckpt_path=at.checkpoint)
        if isinstance(task, Calibrates) and "val" in data.splits:
            calibrate(at.folder / "checkpoints", data, trainer)
    finally:
        logs.close(loggers)


def _contents(recipe: Recipe, facts: dict[str, Any], data: ImageData, loggers: list[Any]) -> dict[str, Any]:
    """What every checkpoint holds beside Lightning's own."""
    return {
        "recipe": reuse.self_contained(recipe),
        "facts": facts,
        "data_hash": data.hash,
        "run_ids": {logger.name: getattr(logger, "run_id", None) for logger in loggers},
    }


def _refuse_unlike(state: dict[str, Any], trainer: Trainer, task: Task, data: ImageData) -> None:
    """Raises UserError where the run in the checkpoint `state` cannot go on so, before anything of it is touched."""
    task.load_state_dict(state["state_dict"])
    task.trained_with = build(folders.recipe_of(state, "optimizer").optimizer)
    data.trainer = trainer
    data.check_continued(state.get(type(data).__qualname__, {}))
    if ema := find_ema(trainer):
        ema.on_load_checkpoint(trainer, task, state)


def _examples(data: ImageData) -> Tensor:
    """Training images [N, C, H, W] in [-1, 1] from all over the data: 5,000, or as many as take half a gigabyte."""
    pixels = data.splits["train"].pixels
    count = min(5000, 2**27 // pixels[0].numel())
    return to_float(pixels[shuffled(len(pixels), data.seed, 0)[:count]], data.source.levels)


def is_trained(recipe: Recipe) -> bool:
    """Whether the recipe's task has anything to train."""
    return isinstance(recipe.task, From) or registry.resolve(recipe.task.entry).trainable  # type: ignore[attr-defined]
