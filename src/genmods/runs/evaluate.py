"""A checkpoint evaluated on a recipe's data: Lightning's `validate`, `test` or `predict`, and its figures written."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from lightning.pytorch.utilities.rank_zero import rank_zero_only

from genmods.callbacks.precision import settle
from genmods.callbacks.shared import LastResult
from genmods.config.check import From
from genmods.config.recipe import Recipe
from genmods.core.errors import UserError
from genmods.runs import folders
from genmods.runs import loggers as logs
from genmods.runs.fit import build_data, build_task, is_trained
from genmods.runs.folders import place
from genmods.runs.trainer import make_trainer
from genmods.tasks.base import Task
from genmods.tracking.base import stand_at, write_json

_STEPS = {"validate": "evaluation_step", "test": "evaluation_step", "predict": "predict_step"}


class Evaluated(NamedTuple):
    """A task; its figures or predictions; and the result of its evaluation, where it has one."""

    task: Task
    found: Any
    result: object | None = None


def evaluate(recipe: Recipe, stage: str, ckpt_path: str | None, quiet: bool = False) -> Evaluated:
    """Run Lightning's `validate`, `test` or `predict` of a checkpoint (by default the newest run's) on a recipe's data.

    The figures are also in `<stage>.json` in the run folder. Predictions are made on one device, so that they come in
    order.
    """
    data, step, found, last = build_data(recipe), _STEPS[stage], None, LastResult()
    settings = recipe.trainer.given | {"enable_progress_bar": not quiet and sys.stderr.isatty()}
    with place(recipe, ckpt_path or ("last" if is_trained(recipe) else None), prefer="best") as at:
        state = folders.read(at.checkpoint) if at.checkpoint else {}
        task = folders.restore(state) if state else build_task(recipe, data.facts())
        task.seed = recipe.seed
        if state:
            _tell_what_is_ignored(recipe, state)
            check_data(task, state["facts"], data.facts())
        if getattr(type(task), step) is getattr(Task, step):
            raise UserError(f"{stage}: a {type(task).__name__} has no {step}")
        if stage == "predict":
            settings |= {"devices": 1, "num_nodes": 1, "strategy": "auto"}
        loggers = [] if stage == "predict" else logs.reopened_loggers(recipe, state)
        trainer = make_trainer(at.folder, task, settings, [last], loggers, {})
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
    return Evaluated(task, found, last.result)


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
