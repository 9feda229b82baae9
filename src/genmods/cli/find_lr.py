"""`genmods find_lr`: suggests a learning rate for a recipe, by the learning-rate range test."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from genmods.config.builtins import SECTIONS

if TYPE_CHECKING:
    from genmods.config.recipe import Recipe

OVERRIDES = SECTIONS


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="RECIPE", required=True, help="a file, or the name of a shipped recipe")
    parser.add_argument("--least", type=float, default=1e-6, help="the first learning rate (default 1e-6)")
    parser.add_argument("--most", type=float, default=1.0, help="the last learning rate (default 1)")
    parser.add_argument("--steps", type=int, default=100, help="training steps between them (default 100)")
    parser.add_argument("--out", type=Path, metavar="FILE.csv", help="output file (default: standard output)")


def run(options: argparse.Namespace) -> None:
    from genmods.config.recipe import load
    from genmods.core.atomic import replacing
    from genmods.core.printable import say
    from genmods.runs.find_lr import find_lr

    recipe = load(options.config, options.overrides)
    found = find_lr(recipe, options.least, options.most, options.steps)
    lines = ["lr,loss", *(f"{rate:.6g},{loss:.6g}" for rate, loss in zip(found.rates, found.losses, strict=True))]
    if options.out is None:
        say(*lines)
    else:
        with replacing(options.out) as staged:
            staged.write_text("\n".join(lines) + "\n", encoding="utf-8")
    message = "no rate lowers the loss; try other bounds"
    say(message if found.suggestion is None else f"try {_settings(recipe, found.suggestion)}", file=sys.stderr)


def _settings(recipe: Recipe, lr: float) -> str:
    """The options that set the optimizer's rates: `lr`, and the others in proportion."""
    settings = recipe.plain()["optimizer"]
    others = {name: rate for name, rate in settings.items() if name.endswith("_lr")}
    rates = {"lr": lr} | {name: rate * lr / settings["lr"] for name, rate in others.items()}
    return " ".join(f"--optimizer.{name}={rate:.2g}" for name, rate in rates.items())
