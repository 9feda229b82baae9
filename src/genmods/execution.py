"""A recipe carried out: data, task, loggers and callbacks built, Lightning started, the run folder filled."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from genmods import checkpoint as files
from genmods import earlier, registry, runs
from genmods.calibration import calibrate
from genmods.data.images import to_float
from genmods.data.module import ImageData
from genmods.errors import UserError
from genmods.recipe import From, Recipe, build
from genmods.tasks.base import Task
from genmods.tasks.classification import ClassificationTask
from genmods.tracking.base import RunLogger, write_json
from genmods.tracking.csv import MetricsFile
from genmods.tracking.environment import describe
from genmods.tracking.wandb import WandbRun
from genmods.training import make_trainer, refusals_in_one_line

_FOLDER = "GENMODS_RUN_FOLDER"
"""Tells processes that Lightning starts for other devices which folder the first one chose."""
_STEPS = {"validate": "validation_step", "test": "test_step", "predict": "predict_step"}


@dataclass
class Place:
    """Where a run lives, and the checkpoint that it starts from."""

    folder: Path
    checkpoint: Path | None


def place(recipe: Recipe, ckpt_path: str | None) -> Place:
    """A new folder, or the folder of the run that is continued. Raises UserError where there is no such run."""
    if ckpt_path is None:
        folder = Path(os.environ.setdefault(_FOLDER, str(runs.new_folder(recipe.name))))
        return Place(folder, None)
    source = runs.newest_folder(recipe.name) if ckpt_path == "last" else Path(ckpt_path)
    checkpoint = runs.find_checkpoint(source, prefer="last")
    return Place(runs.run_folder(checkpoint), checkpoint)


def build_data(recipe: Recipe) -> ImageData:
    """The data module of a recipe, with its order and augmentation from the recipe's seed."""
    data: ImageData = build(recipe.data)
    data.seed = recipe.seed
    return data


def build_task(recipe: Recipe, facts: dict[str, Any]) -> Task:
    """The task of a recipe with its optimizer and schedule, initialised from the recipe's seed."""
    torch.manual_seed(recipe.seed)
    task: Task = build(recipe.task, facts, partial(earlier.inject, facts))
    task.seed = recipe.seed
    task.optimizer = build(recipe.optimizer)
    task.schedule = build(recipe.schedule) if recipe.schedule else None
    return task


def fit(recipe: Recipe, ckpt_path: str | None = None, quiet: bool = False) -> Path:
    """Train a recipe, or continue a run of it at `ckpt_path` ("last", a folder or a file); returns the run folder."""
    if not _is_trained(recipe):
        raise UserError(f"{recipe.source}: there is nothing to train here; use `genmods test --config {recipe.source}`")
    at = place(recipe, ckpt_path)
    try:
        _train(recipe, at, quiet)
    finally:
        os.environ.pop(_FOLDER, None)
    return at.folder


def _train(recipe: Recipe, at: Place, quiet: bool) -> None:
    state = files.load(at.checkpoint) if at.checkpoint else {}
    if state:
        recipe = earlier.continued(recipe, state)
    data = build_data(recipe)
    facts = data.facts()
    task = build_task(recipe, facts)
    loggers = _loggers(recipe, state)
    contents = {
        "recipe": earlier.self_contained(recipe),
        "facts": facts,
        "data_hash": data.hash,
        "run_ids": {logger.name: getattr(logger, "run_id", None) for logger in loggers},
    }
    settings = dict(recipe.trainer.given)
    if quiet:
        settings["enable_progress_bar"] = False
    callbacks = [build(part, facts, partial(earlier.inject, facts)) for part in recipe.callbacks]
    if at.checkpoint is None:
        task.warm_start(to_float(data.splits["train"].pixels[:5000], facts["levels"]))
    _begin(at.folder, recipe, loggers, data, state.get("global_step"))
    trainer = make_trainer(at.folder, task, settings, callbacks, loggers, contents)
    try:
        with refusals_in_one_line():
            trainer.fit(task, data, ckpt_path=at.checkpoint)
        if isinstance(task, ClassificationTask) and "val" in data.splits:
            calibrate(at.folder / "checkpoints", data, trainer)
    finally:
        for logger in loggers:
            logger.close()


def _loggers(recipe: Recipe, state: dict[str, Any]) -> list[Any]:
    loggers: list[Logger] = [MetricsFile(), *(build(part) for part in recipe.logger)]
    for logger in loggers:
        if run_id := state.get("run_ids", {}).get(logger.name):
            logger.run_id = run_id  # type: ignore[attr-defined]
    return loggers


def _is_trained(recipe: Recipe) -> bool:
    return isinstance(recipe.task, From) or registry.resolve(recipe.task.entry).trainable  # type: ignore[attr-defined]


@rank_zero_only
def _begin(folder: Path, recipe: Recipe, loggers: list[Any], data: ImageData, step: int | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    environment = describe()
    write_json(folder / "environment.json", environment)
    config = {**recipe.plain(), "data_hash": data.hash, "environment": environment}
    for logger in loggers:
        if isinstance(logger, RunLogger):
            logger.begin(folder, config, step)
        if isinstance(logger, WandbRun):
            logger.use_data(type(data.source).__name__.lower(), data.hash, {"images": len(data.splits["train"])})


def evaluate(recipe: Recipe, stage: str, ckpt_path: str | None, quiet: bool = False) -> tuple[Any, Any]:
    """Run Lightning's `validate`, `test` or `predict` of a checkpoint (by default the newest run's) on a recipe's data.

    Returns the task and its figures, which are also in `<stage>.json` in the run folder, or its predictions.
    """
    data = build_data(recipe)
    if ckpt_path is None and not _is_trained(recipe):
        at, task = Place(runs.new_folder(recipe.name), None), build_task(recipe, data.facts())
    else:
        at = place(recipe, ckpt_path or "last")
        task = runs.load(ckpt_path if ckpt_path not in (None, "last") else at.folder)
    step = _STEPS[stage]
    if getattr(type(task), step) is getattr(LightningModule, step):
        raise UserError(f"{stage}: a {type(task).__name__} has no {step}")
    settings = dict(recipe.trainer.given)
    settings["enable_progress_bar"] = not quiet and sys.stderr.isatty()
    trainer = make_trainer(at.folder, task, settings, [], [], {})
    if stage == "predict":
        found = trainer.predict(task, data)
    else:
        (found,) = getattr(trainer, stage)(task, data, verbose=False) or [{}]
    if not found:
        raise UserError(f"{stage}: the data has no {'val' if stage == 'validate' else 'test'} images, nothing was done")
    if stage == "predict":
        return task, found
    at.folder.mkdir(parents=True, exist_ok=True)
    write_json(at.folder / f"{stage}.json", found)
    return task, found
