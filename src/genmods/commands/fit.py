"""`fit`, `validate`, `test` and `predict`: a recipe, run by Lightning in a run folder of its own."""

from __future__ import annotations

import argparse
import sys

from genmods import recipe as recipes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="RECIPE", required=True, help="a recipe's file, or the name of a shipped one")
    parser.add_argument("--ckpt_path", metavar="C", help="a checkpoint file, a run folder, or `last`")
    parser.add_argument("--print_config", action="store_true", help="print the resolved recipe and stop")
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no summary")


def run(arguments: argparse.Namespace, stage: str, overrides: list[str]) -> None:
    recipe = recipes.load(arguments.config, overrides)
    if arguments.print_config:
        sys.stdout.write(recipe.to_yaml())
        return
    from genmods import execution

    execution.execute(recipe, stage, arguments.ckpt_path, arguments.quiet)
