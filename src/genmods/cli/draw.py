"""`genmods draw`: draws the architecture of a recipe's networks as SVG, with tensor shapes for its data."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from genmods.config.builtins import SECTIONS
from genmods.core.atomic import replacing
from genmods.core.errors import UserError
from genmods.core.printable import say

OVERRIDES = SECTIONS


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="a file, or the name of a shipped recipe")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.svg", help="output file")
    parser.add_argument(
        "--most", type=int, default=33, metavar="N", help="approximate maximum number of blocks (default 33)"
    )


def run(options: argparse.Namespace) -> None:
    from genmods.config.parts import Part
    from genmods.config.recipe import from_plain, load
    from genmods.runs.fit import build_data
    from genmods.runs.reuse import resolve
    from genmods.visual.architecture import architecture

    if options.out.suffix != ".svg":
        raise UserError(f"--out must end in .svg, got {options.out}")
    recipe = load(options.recipe, options.overrides)
    facts = build_data(recipe).info.settings()
    recipe = from_plain(resolve(recipe).plain(), source=recipe.source)
    part: Any = recipe.task
    halves = [half for half in (part.model, part) if half]
    networks = {
        name: (value.entry.name, half.kind)
        for half in halves
        for name, value in half.given.items()
        if isinstance(value, Part) and value.kind == "network"
    }
    if not networks:
        raise UserError(f"{recipe.source}: the task {part.entry.name} has no network to draw")
    task = built(part, facts)
    modules = {path.rpartition(".")[2]: module for path, module in task.named_modules()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for name, (kind, half) in networks.items():
        title = f"{recipe.name}: {kind}"
        inputs = (task.model if half == "model" else task).example_inputs(name)
        svg = architecture(modules[name], *inputs, name=title, most=options.most)
        path = options.out if len(networks) == 1 else options.out.with_stem(f"{options.out.stem}_{name}")
        with replacing(path) as staged:
            staged.write_text(svg, encoding="utf-8")
        say(path)


def built(part: Any, facts: dict[str, Any]) -> Any:
    """A task on the meta device, without memory for its weights; built on the CPU and moved there if necessary."""
    import torch

    from genmods.config.build import build

    try:
        with torch.device("meta"):
            return build(part, facts)
    except (RuntimeError, NotImplementedError, UserError):
        return build(part, facts).to("meta")
