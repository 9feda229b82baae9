"""The loggers of a run: built from its recipe, begun with its configuration, and opened again later."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_only

from genmods.config.build import build
from genmods.config.recipe import Recipe, from_plain
from genmods.core.errors import UserError
from genmods.data.module import ImageData
from genmods.report.page import write_report
from genmods.runs import folders
from genmods.tracking.base import RunLogger, write_json
from genmods.tracking.csv import MetricsFile
from genmods.tracking.environment import describe
from genmods.tracking.series import read_metrics
from genmods.tracking.wandb import WandbRun


def build_loggers(recipe: Recipe, state: dict[str, Any]) -> list[Any]:
    """The metrics file and the recipe's loggers; those of the checkpoint `state` go on with their run's id."""
    built = [build(part) for part in recipe.logger]
    loggers = [MetricsFile(), *(logger for logger in built if not isinstance(logger, MetricsFile))]
    for logger in loggers:
        if run_id := state.get("run_ids", {}).get(logger.name):
            logger.run_id = run_id
    return loggers


def reopened_loggers(recipe: Recipe, state: dict[str, Any]) -> list[Any]:
    """The loggers of an evaluation: those of the run that wrote the checkpoint `state`, where `recipe` still has them.

    Without a checkpoint they are those of the recipe. An exported model has none.
    """
    loggers = build_loggers(recipe, state)
    if not state:
        return loggers
    known = {"csv", *state["run_ids"]} if "run_ids" in state else set()
    return [logger for logger in loggers if logger.name in known]


@rank_zero_only
def begin(folder: Path, recipe: Recipe, loggers: list[Any], data: ImageData, step: int | None, precision: str) -> None:
    """Make the run folder with its recipe and environment, and start the loggers.

    `step` is where a run is resumed, and `precision` what the recipe's was resolved to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    environment = {**describe(), "precision": precision}
    write_json(folder / "environment.json", environment)
    config = {**recipe.plain(), "data_hash": data.hash, "environment": environment}
    for logger in _ours(loggers):
        logger.begin(folder, config, step)
        if isinstance(logger, WandbRun):
            logger.use_data(type(data.source).__name__.lower(), data.hash, {"images": len(data.splits["train"])})


def close(loggers: list[Any]) -> None:
    """Write what is left, and end the loggers; one of Lightning's own ends by itself."""
    for logger in _ours(loggers):
        logger.close()


def _ours(loggers: list[Any]) -> list[RunLogger]:
    return [logger for logger in loggers if isinstance(logger, RunLogger)]


def recipe_of(state: dict[str, Any]) -> Recipe:
    """The recipe of the checkpoint `state` with its loggers, or without where they are none of this version's."""
    recipe = folders.recipe_of(state)
    try:
        return from_plain({**recipe.plain(), "logger": state["recipe"].get("logger")})
    except UserError:
        return recipe


@contextmanager
def opened(folder: Path, state: dict[str, Any], loggers: list[Any]) -> Iterator[None]:
    """The `reopened_loggers` write into the run in `folder` again, are closed afterwards, and the report is updated."""
    if state:
        _begin_again(folder, state, loggers)
    try:
        yield
    finally:
        _finish(folder, loggers)


@rank_zero_only
def _begin_again(folder: Path, state: dict[str, Any], loggers: list[Any]) -> None:
    environment = folder / "environment.json"
    config = {**state["recipe"], "data_hash": state.get("data_hash")}
    if environment.is_file():
        config["environment"] = json.loads(environment.read_text(encoding="utf-8"))
    steps = [int(row["step"]) for row in read_metrics(folder / "metrics.csv")]
    for logger in _ours(loggers):
        logger.begin(folder, config, max([state["global_step"], *(step + 1 for step in steps)]))
        if isinstance(logger, WandbRun):
            logger.upload_checkpoints = False  # the fit did


@rank_zero_only
def _finish(folder: Path, loggers: list[Any]) -> None:
    close(loggers)
    if (folder / "metrics.csv").is_file():
        write_report([folder])


def step_of(state: dict[str, Any]) -> int:
    """The step of the row that was logged last before the checkpoint `state`; 0 where there is none."""
    return max(0, state.get("global_step", 0) - 1)
