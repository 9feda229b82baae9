"""`genmods draw`: the architecture of a recipe's networks as SVG, with the shapes that its data give them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from genmods.config.builtins import SECTIONS
from genmods.core.errors import UserError

OVERRIDES = SECTIONS


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="a file, or the name of a shipped recipe")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.svg", help="where the drawing goes")
    parser.add_argument("--most", type=int, default=33, metavar="N", help="about so many blocks at most (default 33)")


def run(options: argparse.Namespace) -> None:
    from genmods.config.check import Part
    from genmods.config.recipe import from_plain, load
    from genmods.runs import reuse
    from genmods.runs.fit import build_data
    from genmods.visual.architecture import architecture

    if options.out.suffix != ".svg":
        raise UserError(f"--out {options.out}: a drawing is a .svg file")
    recipe = load(options.recipe, options.overrides)
    facts = build_data(recipe).facts()
    recipe = from_plain(reuse.self_contained(recipe), source=recipe.source)
    task: Any = recipe.task
    parts = {name: part for name, part in task.given.items() if isinstance(part, Part) and part.kind == "network"}
    if not parts:
        raise UserError(f"{recipe.source}: the task {task.entry.name} has no network of its own to draw")
    networks = {name: built(part, facts) for name, part in parts.items()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for name, network in networks.items():
        inputs = examples(recipe, facts, networks, name)
        title = f"{recipe.name}: {parts[name].entry.name}"
        svg = architecture(network, *inputs, name=title, most=options.most)
        path = options.out if len(parts) == 1 else options.out.with_stem(f"{options.out.stem}_{name}")
        path.write_text(svg, encoding="utf-8")
        print(path)


def built(part: Any, facts: dict[str, Any]) -> Any:
    """A network without memory for its weights, on the meta device; one that needs real numbers is moved there."""
    import torch

    from genmods.config.build import build

    try:
        with torch.device("meta"):
            return build(part, facts)
    except (RuntimeError, NotImplementedError):
        return build(part, facts).to("meta")


def examples(recipe: Any, facts: dict[str, Any], networks: dict[str, Any], name: str) -> tuple:
    """What the network called `name` in a recipe's task is called with, for one image."""
    import torch

    from genmods.config import registry
    from genmods.tasks.diffusion import DiffusionTask
    from genmods.tasks.gan import GANTask

    task, settings = registry.resolve(recipe.task.entry), recipe.plain(facts)["task"]
    channels, side = facts["in_channels"], facts["image_size"]
    with torch.device("meta"):
        image = torch.empty(1, channels, side, side)
        if issubclass(task, GANTask) and name == "network":
            return (torch.empty(1, settings["latent"]),)
        if not issubclass(task, DiffusionTask) or name == "codec":
            return (image,)
        x = networks["codec"].encode(image)[0] if "codec" in networks else image
        told = {"label": torch.zeros(1, dtype=torch.int64)} if facts["num_classes"] else {}
        masked = {"image": torch.empty(1, 1 + channels, side, side)}
        cond = {"class": told, "mask": masked, "none": {}}[settings["conditioning"]]
        return x, torch.zeros(1), cond
