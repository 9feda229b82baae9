"""Sweeps on this machine: one run after the other, each a run folder; the same call continues an interrupted sweep."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from genmods.config.recipe import Recipe
from genmods.config.sweep import Sweep, Trial
from genmods.core.atomic import replacing
from genmods.core.errors import UserError
from genmods.core.printable import cell, say
from genmods.report.folder import read_run
from genmods.runs import folders


class Result(NamedTuple):
    """A run of a sweep: its settings, its folder, and the best and the last value of the metric; None if it failed."""

    trial: Trial
    folder: Path | None = None
    best: float | None = None
    last: float | None = None


def run_sweep(sweep: Sweep, trials: list[Trial], fit: Callable[[Recipe, str, bool], Path]) -> list[Result]:
    """Train all runs of a sweep that are not finished.

    Args:
        sweep: The sweep.
        trials: The settings of its runs.
        fit: Trains or continues a run: `genmods.runs.fit.fit`.

    Returns:
        The results, the best run first.

    Raises:
        RecipeError: If a recipe is refused; all are checked before the first run.
    """
    recipes = [sweep.recipe_of(trial) for trial in trials]
    results = []
    for number, (trial, recipe) in enumerate(zip(trials, recipes, strict=True), start=1):
        folder = _finished(recipe)
        say(f"run {number} of {len(trials)}{' is finished' if folder else ''}: {shown(trial)}", file=sys.stderr)
        try:
            folder = folder or fit(recipe, "auto", True)
        except UserError as error:
            say(f"run {number} failed: {error}", file=sys.stderr)
            results.append(Result(trial))
            continue
        results.append(_result(sweep, trial, folder))
    sign = 1 if sweep.minimize else -1
    return sorted(results, key=lambda found: (found.best is None, sign * (found.best or 0.0)))


def shown(trial: Trial) -> str:
    """The settings of a run as one line."""
    return ", ".join(f"{key}={_text(value)}" for key, value in trial.items())


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)


def _finished(recipe: Recipe) -> Path | None:
    """The newest run of this name, if it is finished and was trained by this recipe."""
    try:
        folder = folders.newest_folder(recipe.name)
        same = (folder / "recipe.yaml").read_text(encoding="utf-8") == recipe.to_yaml()
    except (UserError, OSError):
        return None
    return folder if same and folders.status(folder)[0] == "finished" else None


def _result(sweep: Sweep, trial: Trial, folder: Path) -> Result:
    values = [value for _, value in read_run(folder).series.get(sweep.metric, [])]
    if not values:
        return Result(trial, folder)
    return Result(trial, folder, min(values) if sweep.minimize else max(values), values[-1])


def table(sweep: Sweep, results: list[Result]) -> list[list[str]]:
    """The header and a row for each run: settings, best and last value of the metric, folder."""
    header = [*sweep.parameters, f"{sweep.metric} (best)", f"{sweep.metric} (last)", "run"]
    rows = [
        [
            *(_text(value) for value in found.trial.values()),
            *("" if value is None else f"{value:.6g}" for value in (found.best, found.last)),
            str(found.folder or "failed"),
        ]
        for found in results
    ]
    return [header, *rows]


def write_table(rows: list[list[str]], path: Path) -> None:
    """Write a table as CSV, atomically."""
    with replacing(path) as staged, staged.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([[cell(text) for text in row] for row in rows])
