"""`genmods fit | validate | test | predict`: runs a recipe with Lightning in a new run folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from genmods.config.builtins import SECTIONS
from genmods.core.errors import UserError
from genmods.core.places import runs_folder
from genmods.core.printable import say

if TYPE_CHECKING:
    from genmods.config.recipe import Recipe

OVERRIDES = SECTIONS


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="RECIPE", required=True, help="a file, or the name of a shipped recipe")
    parser.add_argument(
        "--ckpt_path",
        metavar="C",
        help="a checkpoint file, a run folder, `last` (the newest run of the recipe), or `auto` (that or a new one)",
    )
    parser.add_argument(
        "--seeds", type=int, metavar="K", help="train K runs NAME-seedS, with this seed and those after it"
    )
    parser.add_argument("--print_config", action="store_true", help="print the resolved recipe and exit")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no summary; warnings only")


def run(options: argparse.Namespace) -> None:
    from genmods.config.recipe import load

    recipe = load(options.config, options.overrides)
    if options.print_config:
        sys.stdout.write(recipe.to_yaml())
        return
    from genmods.cli import summary
    from genmods.models import model_of
    from genmods.runs.evaluate import evaluate

    if options.command == "fit":
        if options.seeds is None:
            train(recipe, options)
        else:
            train_seeds(recipe, options)
        return
    if options.seeds is not None:
        raise UserError(f"--seeds is an option of fit, not of {options.command}")
    evaluated = evaluate(recipe, options.command, options.ckpt_path, options.quiet)
    if options.command == "predict":
        summary.predicted(model_of(evaluated.task), evaluated.found, evaluated.data.names("test"), sys.stdout)
    else:
        summary.figures(evaluated.found, evaluated.result)


def train(recipe: Recipe, options: argparse.Namespace) -> Path:
    """Train a recipe and print how it ended; returns the run folder."""
    from genmods.callbacks.stopping import Stopped
    from genmods.cli import summary
    from genmods.runs import folders
    from genmods.runs.fit import fit

    try:
        folder = fit(recipe, options.ckpt_path, options.quiet)
    except Stopped as stopped:
        summary.stopped(stopped.run, stopped.step)
        raise
    state, step = folders.status(folder)
    if state == "out of time":
        summary.stopped(folder, step, "trainer.max_time is over")
    elif not options.quiet:
        summary.after_fit(folder)
    return folder


def train_seeds(recipe: Recipe, options: argparse.Namespace) -> None:
    """Train a recipe with several seeds, one run after another, and print the mean of their figures.

    A run that was finished by an earlier call is not trained again where `--ckpt_path` is `auto` or `last`, or by the
    same SLURM job. Raises UserError for a number below 2 and for one run as `--ckpt_path`.
    """
    from genmods.callbacks.stopping import Stopped
    from genmods.config.recipe import load
    from genmods.report.folder import read_run
    from genmods.report.page import write_report
    from genmods.report.seeds import by_seed
    from genmods.runs import folders

    if options.seeds < 2:
        raise UserError(f"--seeds must be at least 2, got {options.seeds}")
    if options.ckpt_path not in (None, "auto", "last"):
        raise UserError(f"--ckpt_path must be auto or last with --seeds, got {options.ckpt_path}")
    name = recipe.name.replace("$", "$$")
    seeds = range(recipe.seed, recipe.seed + options.seeds)
    recipes = [load(options.config, options.overrides, {"seed": s, "name": f"{name}-seed{s}"}) for s in seeds]
    found: list[Path] = []
    try:
        for each in recipes:
            folder = folders.finished(each.name, each.to_yaml(), anyone=options.ckpt_path is not None)
            found.append(folder or train(each, options))
    except Stopped:
        say("the same command with --ckpt_path auto continues all seeds", file=sys.stderr)
        raise
    out = write_report(found, runs_folder() / f"{recipe.name}-seeds.html")
    for group in by_seed([read_run(folder) for folder in found]):
        say(f"seeds {', '.join(group.seeds)}: mean ± standard deviation")
        say(*(f"{spread.name:<24}{spread}" for spread in group.spreads()))
    say(f"report {out}", file=sys.stderr)
