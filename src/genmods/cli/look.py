"""`genmods look`: what a trained network makes of images: feature maps, its first filters, Grad-CAM."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmods.cli import model_options
from genmods.cli.files import readable
from genmods.core.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    model_options.checkpoint(parser)
    add("--input", required=True, nargs="+", type=Path, metavar="PATH", help="image files and folders of them")
    add("--out", required=True, type=Path, metavar="DIR", help="where filters.png, IMAGE_maps.png ... go")
    add("--layer", metavar="NAME", help="all maps of this layer too, and Grad-CAM of it")
    add("--label", metavar="K", help="the class of the images, by number or name")
    add("--sigma", type=float, default=50, help="noise that a diffusion model sees, on 0 to 255 (default 50)")


def run(options: argparse.Namespace) -> None:
    from genmods.data.files import find_images
    from genmods.runs import folders
    from genmods.tasks.classification import ClassificationTask
    from genmods.visual.gradcam import grad_cam
    from genmods.visual.layers import feature_maps, feature_overview, filters
    from genmods.visual.trace import find_layer

    state = folders.read(folders.find_checkpoint(options.ckpt_path))
    task: Any = folders.restore(state)
    network, label = watched(task, options), class_label(task, options.label)
    broken: list[str] = []
    side = state["facts"]["image_size"]
    names, images = readable(find_images(options.input), (state["facts"]["in_channels"], side, side), broken)
    layer = None
    if options.layer:
        try:
            layer = find_layer(network, options.layer)
        except ValueError as error:
            raise UserError(f"--layer: {error}") from None
    draw(options.out / "filters.png", filters, network)
    for name, image in zip(unique(names), images, strict=True):
        shown, inputs = seen(task, image, label, options.sigma)
        draw(options.out / f"{name}_maps.png", feature_overview, network, shown, inputs=inputs)
        if layer:
            draw(options.out / f"{name}_{layer}.png", feature_maps, network, layer, shown, inputs=inputs)
        if isinstance(task, ClassificationTask):
            within = layer and f"network.{layer}"
            draw(options.out / f"{name}_gradcam.png", grad_cam, task, image[None], label, within, task.class_names)
    if broken:
        raise UserError("\n".join(broken))


def watched(task: Any, options: argparse.Namespace) -> Any:
    """The network of a task; UserError where it sees no images, or not in a way known here."""
    from genmods.tasks.diffusion import DiffusionTask
    from genmods.tasks.image import ImageTask

    if options.sigma <= 0:
        raise UserError(f"--sigma must be above 0, not {options.sigma:g}")
    if isinstance(task, DiffusionTask):
        return task.denoiser.network
    if not isinstance(task, ImageTask):
        raise UserError(f"--ckpt_path {options.ckpt_path}: a {type(task).__name__} cannot be looked at")
    return task.network


def class_label(task: Any, label: str | None) -> Tensor | None:
    """`--label` as int64 [1]; UserError where the task has no such class."""
    import torch

    return None if label is None else torch.tensor([model_options.class_number(task, label)])


def seen(task: Any, image: Tensor, label: Tensor | None, sigma: float) -> tuple[Tensor, tuple]:
    """An image [C, H, W] as it is shown, and what the task's network is called with for it.

    A diffusion model sees the image, or its latent, with white noise of `sigma` on 0 to 255, the same for each image.
    """
    import torch

    from genmods.core import random
    from genmods.restoration.denoising import mmse
    from genmods.tasks.diffusion import DiffusionTask

    if not isinstance(task, DiffusionTask):
        return image, (task.normalised(image[None]),)
    x0 = task.encode(image[None])
    level = torch.tensor([2 * sigma / 255])
    noisy = x0 + level * random.normal(random.fold(0)[None], x0.numel()).view_as(x0)
    calls: list[tuple] = []
    handle = task.denoiser.network.register_forward_pre_hook(lambda _, inputs: calls.append(inputs))
    with torch.no_grad():
        mmse(task.denoise(task.told(torch.tensor([-1]) if label is None else label)), noisy, level)
    handle.remove()
    return noisy[0] if task.codec is None else image, calls[0]


def draw(path: Path, make: Callable[..., Figure], *inputs: Any, **settings: Any) -> None:
    """Write the figure that `make` makes and say where; what the network does not have is one line on stderr."""
    from genmods.visual.style import save

    try:
        save(make(*inputs, **settings), path)
    except ValueError as error:
        print(f"no {path.name}: {error}", file=sys.stderr)
    else:
        print(path)


def unique(names: list[str]) -> list[str]:
    """File names without folder and suffix, numbered where they occur again."""
    found: list[str] = []
    for name in names:
        stem, copies = Path(name).stem, 1
        while (candidate := stem if copies == 1 else f"{stem}~{copies}") in found:
            copies += 1
        found.append(candidate)
    return found
