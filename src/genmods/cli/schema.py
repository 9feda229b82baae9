"""`genmods schema`: prints a JSON Schema of recipes, by which editors complete and check them."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from genmods.core.printable import say


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="output file (default: standard output)")


def run(options: argparse.Namespace) -> None:
    from genmods.config.json_schema import recipe_schema
    from genmods.core.atomic import replacing

    text = json.dumps(recipe_schema(), indent=1) + "\n"
    if options.out is None:
        sys.stdout.write(text)
        return
    with replacing(options.out) as staged:
        staged.write_text(text, encoding="utf-8")
    say(f"first line of a recipe: # yaml-language-server: $schema={options.out}", file=sys.stderr)
