"""The loggers of a run: built from its recipe, started with its configuration, and reopened by evaluations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_only

from genmods.config.build import build, unresolved
from genmods.config.parts import Part
from genmods.config.recipe import Recipe, from_plain
from genmods.core.atomic import replacing
from genmods.core.errors import UserError
from genmods.data.base import DataModule
from genmods.report.page import write_report
from genmods.report.sidecars import read_sidecars
from genmods.runs.checkpoint import Checkpoint
from genmods.tracking.base import RunLogger, write_json
from genmods.tracking.csv import MetricsFile
from genmods.tracking.environment import describe
from genmods.tracking.series import read_metrics
from genmods.tracking.wandb import WandbRun


def build_loggers(recipe: Recipe, before: Checkpoint | None) -> list[Any]:
    """The metrics file and the recipe's loggers; a resumed run keeps the ids of the checkpoint `before`."""
    built = [build(part) for part in recipe.logger]
    loggers = [MetricsFile(), *(logger for logger in built if not isinstance(logger, MetricsFile))]
    for logger in loggers:
        if before and (run_id := before.run_ids.get(logger.name)):
            logger.run_id = run_id
    return loggers


def reopened_loggers(recipe: Recipe, before: Checkpoint | None) -> list[Any]:
    """The loggers of an evaluation: those of the checkpoint's run, as far as `recipe` still has them.

    Without a checkpoint they are the loggers of the recipe. An exported model has none.
    """
    loggers = build_loggers(recipe, before)
    return loggers if before is None else [logger for logger in loggers if logger.name in before.run_ids]


@contextmanager
def running(
    folder: Path, recipe: Recipe, loggers: list[Any], data: DataModule, before: Checkpoint | None, precision: str
) -> Iterator[None]:
    """Context in which the loggers write to the run in `folder`; the report is updated on exit.

    A run that resumes from the checkpoint `before` repeats later rows; `precision` is the precision of the run.
    """
    try:
        _begin(folder, recipe, loggers, data, before.step if before else None, precision)
        yield
    finally:
        _finish(folder, loggers)


@rank_zero_only
def _begin(
    folder: Path, recipe: Recipe, loggers: list[Any], data: DataModule, step: int | None, precision: str
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "recipe.yaml") as staged:
        staged.write_text(recipe.to_yaml(), encoding="utf-8")
    environment = {**describe(), "precision": precision}
    write_json(folder / "environment.json", environment)
    config = {**recipe.plain(), "data_hash": data.hash, "environment": environment}
    config["data"]["batch_size"] = data.batch_size  # of `auto`
    for logger in _ours(loggers):
        logger.begin(folder, config, step)
        if isinstance(logger, WandbRun):
            logger.use_data(data.data_name, data.hash, {"images": len(data.splits["train"])})


def _ours(loggers: list[Any]) -> list[RunLogger]:
    return [logger for logger in loggers if isinstance(logger, RunLogger)]


def recipe_of(checkpoint: Checkpoint) -> Recipe:
    """The recipe of a checkpoint with its loggers.

    Without those whose settings have environment variables, and without all if this version does not support one.
    """
    recipe = checkpoint.parsed()
    try:
        whole = from_plain({**recipe.plain(), "logger": checkpoint.recipe.get("logger")})
    except UserError:
        return recipe
    whole.logger = [part for part in whole.logger if isinstance(part, Part) and not unresolved(part.given)]
    return whole


@contextmanager
def reopened(folder: Path, before: Checkpoint, loggers: list[Any]) -> Iterator[None]:
    """Context in which the `reopened_loggers` write to the run in `folder` again; the report is updated on exit."""
    _begin_again(folder, before, loggers)
    try:
        yield
    finally:
        _finish(folder, loggers)


@rank_zero_only
def _begin_again(folder: Path, before: Checkpoint, loggers: list[Any]) -> None:
    config = {**before.recipe, "data_hash": before.data_hash}
    if environment := read_sidecars(folder).get("environment"):
        config["environment"] = environment
    steps = [int(row["step"]) for row in read_metrics(folder / "metrics.csv")]
    for logger in _ours(loggers):
        logger.begin(folder, config, max([before.step, *(step + 1 for step in steps)]))
        if isinstance(logger, WandbRun):
            logger.upload_checkpoints = False  # the fit has uploaded them


@rank_zero_only
def _finish(folder: Path, loggers: list[Any]) -> None:
    for logger in _ours(loggers):  # Lightning's loggers close themselves
        logger.close()
    if (folder / "metrics.csv").is_file():
        write_report([folder])
