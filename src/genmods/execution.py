"""A recipe carried out: data, task, loggers and callbacks built, Lightning started, the run folder filled."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor

from genmods import checkpoint as files
from genmods import earlier, logs, registry, runs
from genmods.calibration import calibrate
from genmods.callbacks.ema import find_ema
from genmods.callbacks.precision import settle
from genmods.data.images import to_float
from genmods.data.module import ImageData
from genmods.data.splits import shuffled
from genmods.errors import UserError
from genmods.recipe import From, Recipe, RecipeError, build
from genmods.tasks.base import Task
from genmods.tasks.classification import ClassificationTask
from genmods.tracking.base import stand_at, write_json
from genmods.training import make_trainer, refusals_in_one_line

_STEPS = {"validate": "validation_step", "test": "test_step", "predict": "predict_step"}


@dataclass
class Place:
    """Where a run lives, and the checkpoint that it starts from."""

    folder: Path
    checkpoint: Path | None


@contextmanager
def place(recipe: Recipe, ckpt_path: str | None, prefer: str) -> Iterator[Place]:
    """A new folder, or the folder of the run that is continued. Raises UserError where there is no such run.

    Of the folders that the ranks of a new run choose, rank 0's is made and written to.
    """
    if ckpt_path is None:
        with runs.new_folder(recipe.name) as folder:
            yield Place(folder, None)
    else:
        source = runs.newest_folder(recipe.name) if ckpt_path == "last" else ckpt_path
        checkpoint = runs.find_checkpoint(source, prefer)
        yield Place(runs.run_folder(checkpoint), checkpoint)


def build_data(recipe: Recipe) -> ImageData:
    """The data module of a recipe, with its order and augmentation from the recipe's seed."""
    data: ImageData = build(recipe.data)
    return data


def build_task(recipe: Recipe, facts: dict[str, Any]) -> Task:
    """The task of a recipe with its optimizer and schedule, initialised from the recipe's seed."""
    torch.manual_seed(recipe.seed)
    task: Task = build(recipe.task, facts, partial(earlier.inject, facts))
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
    if not _is_trained(recipe):
        raise UserError(f"{recipe.source}: there is nothing to train here; use `genmods test --config {recipe.source}`")
    with place(recipe, ckpt_path, prefer="last") as at:
        _train(recipe, at, quiet)
    return at.folder


def _train(recipe: Recipe, at: Place, quiet: bool) -> None:
    state = files.load(at.checkpoint) if at.checkpoint else {}
    recipe = earlier.continued(recipe, state) if state else recipe
    data = build_data(recipe)
    facts = data.facts()
    task = build_task(recipe, facts)
    loggers = logs.build_loggers(recipe, state)
    callbacks = [build(part, facts, partial(earlier.inject, facts)) for part in recipe.callbacks]
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
        if isinstance(task, ClassificationTask) and "val" in data.splits:
            calibrate(at.folder / "checkpoints", data, trainer)
    finally:
        logs.close(loggers)


def _contents(recipe: Recipe, facts: dict[str, Any], data: ImageData, loggers: list[Any]) -> dict[str, Any]:
    """What every checkpoint holds beside Lightning's own."""
    return {
        "recipe": earlier.self_contained(recipe),
        "facts": facts,
        "data_hash": data.hash,
        "run_ids": {logger.name: getattr(logger, "run_id", None) for logger in loggers},
    }


def _refuse_unlike(state: dict[str, Any], trainer: Trainer, task: Task, data: ImageData) -> None:
    """Raises UserError where the run in the checkpoint `state` cannot go on so, before anything of it is touched."""
    task.load_state_dict(state["state_dict"])
    task.trained_with = build(runs.recipe_of(state, "optimizer").optimizer)
    data.trainer = trainer
    data.check_continued(state.get(type(data).__qualname__, {}))
    if ema := find_ema(trainer):
        ema.on_load_checkpoint(trainer, task, state)


def _examples(data: ImageData) -> Tensor:
    """Training images [N, C, H, W] in [-1, 1] from all over the data: 5,000, or as many as take half a gigabyte."""
    pixels = data.splits["train"].pixels
    count = min(5000, 2**27 // pixels[0].numel())
    return to_float(pixels[shuffled(len(pixels), data.seed, 0)[:count]], data.source.levels)


def _is_trained(recipe: Recipe) -> bool:
    return isinstance(recipe.task, From) or registry.resolve(recipe.task.entry).trainable  # type: ignore[attr-defined]


def evaluate(recipe: Recipe, stage: str, ckpt_path: str | None, quiet: bool = False) -> tuple[Any, Any]:
    """Run Lightning's `validate`, `test` or `predict` of a checkpoint (by default the newest run's) on a recipe's data.

    Returns the task and its figures, which are also in `<stage>.json` in the run folder, or its predictions, which are
    made on one device so that they come in order.
    """
    data, step, found = build_data(recipe), _STEPS[stage], None
    settings = recipe.trainer.given | {"enable_progress_bar": not quiet and sys.stderr.isatty()}
    with place(recipe, ckpt_path or ("last" if _is_trained(recipe) else None), prefer="best") as at:
        state = runs.read(at.checkpoint) if at.checkpoint else {}
        task = runs.restore(state) if state else build_task(recipe, data.facts())
        task.seed = recipe.seed
        if state:
            _tell_what_is_ignored(recipe, state)
            check_data(task, state["facts"], data.facts())
        if getattr(type(task), step) is getattr(LightningModule, step):
            raise UserError(f"{stage}: a {type(task).__name__} has no {step}")
        if stage == "predict":
            settings |= {"devices": 1, "num_nodes": 1, "strategy": "auto"}
        loggers = [] if stage == "predict" else logs.reopened_loggers(recipe, state)
        trainer = make_trainer(at.folder, task, settings, [], loggers, {})
        settle(trainer, settings["precision"], state.get("precision"), quiet)
        if stage == "predict":
            found = trainer.predict(task, data)
        else:
            if not state:
                logs.begin(at.folder, recipe, loggers, data, None, trainer.precision)
            with logs.opened(at.folder, state, loggers):
                stand_at(trainer, logs.step_of(state), state.get("epoch", 0))
                (found,) = getattr(trainer, stage)(task, data, verbose=False) or [{}]
                if found:
                    rank_zero_only(write_json)(at.folder / f"{stage}.json", found)
    if not found:
        raise UserError(f"{stage}: the data has no {'val' if stage == 'validate' else 'test'} images, nothing was done")
    return task, found


def check_data(task: Task, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raises UserError where a trained model cannot judge images with the facts `now`."""
    for name in ("in_channels", "class_names") if task.labelled else ("in_channels",):
        if before[name] and now[name] != before[name]:
            raise UserError(f"the model was trained on data with {name} {before[name]}; this data has {now[name]}")


@rank_zero_only
def _tell_what_is_ignored(recipe: Recipe, state: dict[str, Any]) -> None:
    """One line on stderr about settings of the recipe's task that are not those of the checkpoint's task."""
    before = state["recipe"]["task"]
    own = {} if isinstance(recipe.task, From) else recipe.plain()["task"]
    taken = [name for name, value in own.items() if isinstance(value, dict) and "from" in value]
    ignored = [name for name in own if name not in taken and own[name] != before.get(name, own[name])]
    if ignored:
        told = ", ".join(f"task.{name}" for name in ignored)
        print(f"the model is that of the checkpoint; {told} of {recipe.source} has no effect", file=sys.stderr)
