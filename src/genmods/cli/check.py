"""`genmods check RECIPE`: validates a recipe, and constructs its parts, without running it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from genmods.config.builtins import SECTIONS
from genmods.core.printable import say

OVERRIDES = SECTIONS


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="a file, or the name of a shipped recipe")


def run(options: argparse.Namespace) -> None:
    from genmods.config.labels import check_labels
    from genmods.config.parts import Part
    from genmods.config.recipe import load

    recipe = load(options.recipe, options.overrides)
    from genmods.runs.rehearsal import rehearse  # imports Lightning

    rehearse(recipe, check_labels(recipe))
    source = recipe.data.given.get("source")
    root = source.given.get("root") if isinstance(source, Part) else None
    if isinstance(root, str) and not Path(root).expanduser().exists():
        say(f"{recipe.source}: data.root: there is no folder {root}; its labels were not checked", file=sys.stderr)
    say(f"{recipe.source}: OK")
