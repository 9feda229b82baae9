"""Evaluation of a checkpoint on a recipe's data with Lightning's `validate`, `test` or `predict`."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from genmods.callbacks.precision import settle
from genmods.config.parts import From
from genmods.config.recipe import Recipe
from genmods.core.errors import UserError
from genmods.core.lightning_internals import set_logged_step
from genmods.core.printable import say
from genmods.data.base import DataModule
from genmods.data.info import DataInfo
from genmods.data.preparation import Preparation
from genmods.models import Model, Predicts, model_of
from genmods.runs.batch_size import batch_size_of
from genmods.runs.checkpoint import Checkpoint
from genmods.runs.fit import build_data, build_task, is_trained
from genmods.runs.folders import place
from genmods.runs.loggers import reopened, reopened_loggers, running
from genmods.runs.reuse import resolve
from genmods.runs.trainer import make_trainer
from genmods.tasks.base import FitPlan, Task
from genmods.tracking.base import write_json

SPLITS = {"validate": "val", "test": "test", "predict": "test"}
"""Stage -> the split that it evaluates."""
_STEPS = {"validate": "evaluation_step", "test": "evaluation_step", "predict": "predict_step"}


class LastResult(Callback):
    """Keeps the result of the last evaluation."""

    result: object | None = None

    def on_evaluation_result(self, trainer: Trainer, stage: str, result: object) -> None:
        self.result = result


class Evaluated(NamedTuple):
    """A task, the data, the metrics or predictions, and the result of the evaluation, if any."""

    task: Task
    data: DataModule
    found: Any
    result: object | None = None


def evaluate(recipe: Recipe, stage: str, ckpt_path: str | None, quiet: bool = False) -> Evaluated:
    """Run Lightning's `validate`, `test` or `predict` of a checkpoint (by default the newest run's) on a recipe's data.

    Metrics are also written to `<stage>.json` in the run folder. Predictions are computed on one device, so that they
    are sorted.
    """
    last = LastResult()
    settings = recipe.trainer.given | {"enable_progress_bar": not quiet and sys.stderr.isatty()}
    if stage == "predict":
        settings |= {"devices": 1, "num_nodes": 1, "strategy": "auto"}
    with place(recipe.name, ckpt_path or ("last" if is_trained(recipe) else None), prefer="best") as at:
        before = Checkpoint.read(at.checkpoint) if at.checkpoint else None
        data = build_data(recipe)
        task = _task(recipe, before, data, stage)
        if reason := _nothing(stage, data):
            raise UserError(reason)
        loggers = [] if stage == "predict" else reopened_loggers(recipe, before)
        trainer = make_trainer(at.folder, task, settings, [last], loggers)
        settle(trainer, task, settings["precision"], before.precision if before else None, quiet)
        if stage == "predict":
            found = trainer.predict(task, data)
        else:
            logged = (
                reopened(at.folder, before, loggers)
                if before
                else running(at.folder, recipe, loggers, data, None, trainer.precision)
            )
            with logged:
                set_logged_step(trainer, before.last_row if before else 0, before.epoch if before else 0)
                (found,) = getattr(trainer, stage)(task, data, verbose=False) or [{}]
                if found:
                    split = data.splits[SPLITS[stage]]
                    record = {"images": len(split), "data_hash": data.hash, "figures": found}
                    rank_zero_only(write_json)(at.folder / f"{stage}.json", record)
    if not found:
        raise UserError(_nothing(stage, data) or f"{stage}: there were no batches, nothing was done")
    return Evaluated(task, data, found, last.result)


def _task(recipe: Recipe, before: Checkpoint | None, data: DataModule, stage: str) -> Task:
    """The task of the checkpoint `before`, for which `data` is prepared as for its training, or of an untrained recipe.

    Raises UserError if it does not fit the data, or has nothing to do in this stage.
    """
    if before:
        if before.preparation is not None:
            data.prepare_as(before.preparation)
        if recipe.data.given.get("batch_size") == "auto":
            data.batch_size = batch_size_of(before) or data.batch_size
        task = before.task(plan=FitPlan(seed=recipe.seed))
        _report_ignored(recipe, before)
        check_data(model_of(task), before.data_info, data.info, needs_labels=stage != "predict")
        report_preparation(before.preparation, data.preparation)
    else:
        task = build_task(resolve(recipe), data.info)
    has_step = getattr(type(task), _STEPS[stage]) is not getattr(Task, _STEPS[stage])
    if not has_step and not (stage == "predict" and isinstance(model_of(task), Predicts)):
        raise UserError(f"{stage}: requires a task with {_STEPS[stage]}, got {type(task).__name__}")
    return task


def _nothing(stage: str, data: DataModule) -> str | None:
    """Why an evaluation has nothing to do; None if it has."""
    split = SPLITS[stage]
    if split not in data.splits:
        return f"{stage}: the data has no {split} images, nothing was done"
    unlabeled = stage != "predict" and not data.has_labels(split)
    return f"{stage}: the {split} images have no labels; use predict" if unlabeled else None


def check_data(model: Model, before: DataInfo, now: DataInfo, needs_labels: bool = True) -> None:
    """Raises UserError if a model trained on the data `before` cannot be evaluated on the data `now`."""
    if model.uses_classes and before.label_kind != "none" and now.label_kind == "none":
        raise UserError("the images must have labels like the training data of the model; use classify without labels")
    labels = ("label_kind", "class_names") if model.uses_classes and needs_labels else ()
    for name in ("in_channels", *labels):
        was, has = getattr(before, name), getattr(now, name)
        if was and has != was:
            raise UserError(f"data must have {name} {was} like the model's training data, got {has}")


@rank_zero_only
def report_preparation(before: Preparation | None, now: Preparation | None) -> None:
    """One line on stderr if image files are prepared differently from the training data of the model."""
    if before is None or now is None:
        return
    names = ("fit", "background", "range")
    other = [name for name in names if getattr(before, name) != getattr(now, name)]
    if other:
        changes = ", ".join(f"data.{name} was {getattr(before, name)} and is {getattr(now, name)}" for name in other)
        say(f"images are prepared differently from training: {changes}", file=sys.stderr)


@rank_zero_only
def _report_ignored(recipe: Recipe, checkpoint: Checkpoint) -> None:
    """Print a line on stderr if settings of the recipe's task differ from those of the checkpoint's task."""
    before = checkpoint.recipe["task"]
    own = {} if isinstance(recipe.task, From) else recipe.plain()["task"]
    taken = [name for name, value in own.items() if isinstance(value, dict) and "from" in value]
    ignored = [name for name in own if name not in taken and own[name] != before.get(name, own[name])]
    if ignored:
        names = ", ".join(f"task.{name}" for name in ignored)
        say(f"model settings come from the checkpoint; ignoring {names} of {recipe.source}", file=sys.stderr)
