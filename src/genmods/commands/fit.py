"""`genmods fit | validate | test | predict`: a recipe, run by Lightning in a run folder of its own."""

from __future__ import annotations

import argparse
import sys

from genmods.table import SECTIONS

OVERRIDES = SECTIONS


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="RECIPE", required=True, help="a file, or the name of a shipped recipe")
    parser.add_argument("--ckpt_path", metavar="C", help="a checkpoint file, a run folder, or `last`, the newest run")
    parser.add_argument("--print_config", action="store_true", help="print the resolved recipe and stop")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no summary")


def run(options: argparse.Namespace) -> None:
    from genmods.recipe import load

    recipe = load(options.config, options.overrides)
    if options.print_config:
        sys.stdout.write(recipe.to_yaml())
        return
    from genmods import execution
    from genmods.callbacks.guard import Stopped
    from genmods.commands import outcome

    if options.command == "fit":
        try:
            folder = execution.fit(recipe, options.ckpt_path, options.quiet)
        except Stopped as stopped:
            outcome.how_to_go_on(stopped)
            raise
        if not options.quiet:
            outcome.after_fit(folder)
        return
    task, result = execution.evaluate(recipe, options.command, options.ckpt_path, options.quiet)
    if options.command == "predict":
        outcome.predicted(task, result, sys.stdout)
    else:
        outcome.figures(task, result)
