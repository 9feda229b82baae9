"""`genmods look`: plots feature maps, filters and Grad-CAM of a trained network, or with `--data` training images."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmods.cli import look_data, model_options
from genmods.cli.files import readable
from genmods.core.errors import UserError
from genmods.core.printable import say

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OVERRIDES = ("data", "seed")


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--data", metavar="RECIPE", help="plot the images that this recipe trains on, before and after augmentation")
    add("--n", type=int, default=8, help="images to show with --data (default 8)")
    model_options.checkpoint(parser, required=False)
    add("--input", nargs="+", type=Path, metavar="PATH", help="image files and folders of them")
    add("--out", required=True, type=Path, metavar="DIR", help="output folder of filters.png, IMAGE_maps.png, data.png")
    add("--layer", metavar="NAME", help="also plot all maps of this layer, and its Grad-CAM")
    model_options.condition_arguments(parser)
    add("--sigma", type=float, default=50, help="noise level of a diffusion model's input, 0 to 255 (default 50)")


def run(options: argparse.Namespace) -> None:
    if options.data is not None:
        if options.ckpt_path or options.input:
            raise UserError("genmods look: --data must not be combined with --ckpt_path or --input")
        return look_data.run(options)
    if options.overrides:
        raise UserError(f"genmods look: {options.overrides[0]} requires --data RECIPE")
    if not (options.ckpt_path and options.input):
        raise UserError("genmods look: requires --ckpt_path and --input, or --data RECIPE")
    return look_at_network(options)


def look_at_network(options: argparse.Namespace) -> None:
    """Plot the layers of a trained network for images."""
    import torch

    from genmods.data.walk import find_images
    from genmods.models import Classifies, Inspectable, Model, class_number
    from genmods.runs.checkpoint import Checkpoint
    from genmods.runs.folders import find_checkpoint
    from genmods.visual.gradcam import grad_cam
    from genmods.visual.layers import feature_maps, feature_overview, filters
    from genmods.visual.trace import find_layer

    checkpoint = Checkpoint.read(find_checkpoint(options.ckpt_path))
    model: Model = checkpoint.model()
    if options.sigma <= 0:
        raise UserError(f"--sigma must be above 0, got {options.sigma:g}")
    if not isinstance(model, Inspectable):
        raise UserError(f"--ckpt_path {options.ckpt_path}: feature maps are not available for {type(model).__name__}")
    condition, label = model_options.request(options), None
    if isinstance(model, Classifies) and options.label is not None:
        try:
            label = torch.tensor([class_number(model.class_names, options.label)])
        except UserError as error:
            raise UserError(f"--{error}") from None
    broken: list[str] = []
    names, images = readable(find_images(options.input), checkpoint.preparation, broken)
    network = model.inspect(torch.zeros(checkpoint.data_info.shape), condition, 1.0).network
    path = next(name for name, module in model.named_modules() if module is network)
    layer = None
    if options.layer:
        try:
            layer = find_layer(network, options.layer)
        except ValueError as error:
            raise UserError(f"--layer: {error}") from None
    draw(options.out / "filters.png", filters, network)
    for name, image in zip(unique(names), images, strict=True):
        network, inputs, shown = model.inspect(image, condition, 2 * options.sigma / 255)
        draw(options.out / f"{name}_maps.png", feature_overview, network, shown, inputs=inputs)
        if layer:
            draw(options.out / f"{name}_{layer}.png", feature_maps, network, layer, shown, inputs=inputs)
        if isinstance(model, Classifies):
            within = layer and f"{path}.{layer}"
            draw(options.out / f"{name}_gradcam.png", grad_cam, model, image[None], label, within, model.class_names)
    if broken:
        raise UserError(*broken)


def draw(path: Path, make: Callable[..., Figure], *inputs: Any, **settings: Any) -> None:
    """Write the figure returned by `make` and print its path; if it does not apply to the network, print the reason."""
    from genmods.visual.style import save

    try:
        save(make(*inputs, **settings), path)
    except ValueError as error:
        say(f"no {path.name}: {error}", file=sys.stderr)
    else:
        say(path)


def unique(names: list[str]) -> list[str]:
    """File names without folder and suffix; duplicates are numbered."""
    found: dict[str, None] = {}
    for name in names:
        stem, copies = Path(name).stem, 1
        while (candidate := stem if copies == 1 else f"{stem}~{copies}") in found:
            copies += 1
        found[candidate] = None
    return list(found)
