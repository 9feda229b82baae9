"""`genmods look`: plots feature maps, filters and Grad-CAM of a trained network, or with `--data` training images."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmods.cli import look_data, model_options
from genmods.cli.files import readable
from genmods.core.errors import UserError
from genmods.core.printable import counted, say

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor, nn

    from genmods.data.preparation import Preparation
    from genmods.models import Model
    from genmods.visual.gradcam import Photo

OVERRIDES = ("data", "seed")
EACH = 8
"""The largest number of images that each have figures; for more, one page shows Grad-CAM."""
PAGE = 24
"""The largest number of images on that page."""
SIDE = 640
"""The larger side of a photograph in a figure, in pixels."""


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--data", metavar="RECIPE", help="plot the images that this recipe trains on, before and after augmentation")
    add("--n", type=int, default=8, help="images to show with --data (default 8)")
    model_options.checkpoint(parser, required=False)
    add("--input", nargs="+", type=Path, metavar="PATH", help="image files and folders of them")
    add(
        "--out",
        required=True,
        type=Path,
        metavar="DIR",
        help="output folder of filters.png, IMAGE_maps.png, data.png ...",
    )
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
    from genmods.models import Classifies, Inspectable
    from genmods.runs.checkpoint import Checkpoint
    from genmods.runs.folders import find_checkpoint
    from genmods.visual.gradcam import grad_cam
    from genmods.visual.layers import feature_maps, feature_overview, filters

    checkpoint = Checkpoint.read(find_checkpoint(options.ckpt_path))
    model: Model = checkpoint.model()
    if options.sigma <= 0:
        raise UserError(f"--sigma must be above 0, got {options.sigma:g}")
    if not isinstance(model, Inspectable):
        raise UserError(f"--ckpt_path {options.ckpt_path}: feature maps are not available for {type(model).__name__}")
    condition, label = model_options.request(options), _label(model, options.label)
    broken: list[str] = []
    paths = find_images(options.input)
    alone = len(paths) <= EACH
    files, images = readable(paths if alone else paths[:PAGE], checkpoint.preparation, broken)
    network = model.inspect(torch.zeros(checkpoint.data_info.shape), condition, 1.0).network
    path = next(name for name, module in model.named_modules() if module is network)
    layer = _layer(network, options.layer)
    within = layer and f"{path}.{layer}"

    def cam(place: str, some: range) -> None:
        if isinstance(model, Classifies):
            labels = None if label is None else label.expand(len(some))
            photos = [photo(files[i], checkpoint.preparation) for i in some]
            inputs = torch.stack([images[i] for i in some])
            draw(options.out / place, grad_cam, model, inputs, labels, within, model.class_names, photos)

    draw(options.out / "filters.png", filters, network)
    for i, name in enumerate(unique(files)[: len(images) if alone else 1]):
        network, inputs, shown = model.inspect(images[i], condition, 2 * options.sigma / 255)
        draw(options.out / f"{name}_maps.png", feature_overview, network, shown, inputs=inputs)
        if layer:
            draw(options.out / f"{name}_{layer}.png", feature_maps, network, layer, shown, inputs=inputs)
        if alone:
            cam(f"{name}_gradcam.png", range(i, i + 1))
    if not alone:
        say(f"{counted(len(paths), 'image')}: feature maps of the first, Grad-CAM of the first {len(images)}")
        cam("gradcam.png", range(len(images)))
    if broken:
        raise UserError(*broken)


def _label(model: Model, label: str | None) -> Tensor | None:
    """The class `--label` of a classifier, int64 [1]; None for all classes, and for another model."""
    import torch

    from genmods.models import Classifies, class_number

    if label is None or not isinstance(model, Classifies):
        return None
    try:
        return torch.tensor([class_number(model.class_names, label)])
    except UserError as error:
        raise UserError(f"--{error}") from None


def _layer(network: nn.Module, name: str | None) -> str | None:
    """The full name of the layer `--layer`."""
    from genmods.visual.trace import find_layer

    try:
        return find_layer(network, name) if name else None
    except ValueError as error:
        raise UserError(f"--layer: {error}") from None


def photo(path: str, preparation: Preparation | None) -> Photo:
    """An image file at its own size, or reduced to `SIDE` pixels, and the part that a model sees of it."""
    from genmods.data.decoding import prepared
    from genmods.data.files import open_image
    from genmods.data.preparation import seen_part
    from genmods.visual.gradcam import Photo

    assert preparation is not None
    size = open_image(path, preparation.max_pixels, preparation.channels).size
    height, width = (max(1, round(side * min(1, SIDE / max(size)))) for side in size)
    image = prepared(path, replace(preparation, size=(height, width), fit="stretch"))
    part = seen_part(preparation.size or (height, width), (height, width), preparation.fit)
    return Photo(image, part, Path(path).name)


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
