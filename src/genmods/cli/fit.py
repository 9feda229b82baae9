"""`genmods fit | validate | test | predict`: runs a recipe with Lightning in a new run folder."""

from __future__ import annotations

import argparse
import sys

from genmods.config.builtins import SECTIONS

OVERRIDES = SECTIONS


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="RECIPE", required=True, help="a file, or the name of a shipped recipe")
    parser.add_argument(
        "--ckpt_path",
        metavar="C",
        help="a checkpoint file, a run folder, `last` (the newest run of the recipe), or `auto` (that or a new one)",
    )
    parser.add_argument("--print_config", action="store_true", help="print the resolved recipe and exit")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no summary")


def run(options: argparse.Namespace) -> None:
    from genmods.config.recipe import load

    recipe = load(options.config, options.overrides)
    if options.print_config:
        sys.stdout.write(recipe.to_yaml())
        return
    from genmods.callbacks.stopping import Stopped
    from genmods.cli import summary
    from genmods.models import model_of
    from genmods.runs import folders
    from genmods.runs.evaluate import evaluate
    from genmods.runs.fit import fit

    if options.command == "fit":
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
        return
    evaluated = evaluate(recipe, options.command, options.ckpt_path, options.quiet)
    if options.command == "predict":
        summary.predicted(model_of(evaluated.task), evaluated.found, evaluated.data.names("test"), sys.stdout)
    else:
        summary.figures(evaluated.found, evaluated.result)
