"""Grad-CAM: heat maps of the regions that support a class (Selvaraju et al., ICCV 2017).

For feature maps A_k of a layer and the logit y_c of a class, the weight of a map is its mean gradient, alpha_k =
mean_ij dy_c / dA_k,ij, and the heat map is L = relu(sum_k alpha_k A_k).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

from genmods.data.preparation import Box
from genmods.visual.style import (
    BLUE,
    INK,
    ORANGE,
    bare,
    class_name,
    new_figure,
    panels,
    percent,
    shortened,
    show_image,
    title,
)
from genmods.visual.trace import find_layer, stages, trace

_ACROSS = 8
"""The largest number of images side by side."""


def evidence(network: nn.Module, images: Tensor, classes: Tensor, layer: str | None = None) -> Tensor:
    """Grad-CAM heat maps.

    Args:
        network: The classifier.
        images: Images [B, C, H, W].
        classes: The class of each image whose logit is explained, int64 [B].
        layer: The layer whose feature maps are used; None: the deepest one with more than one pixel.

    Returns:
        Non-negative heat maps [B, h, w].

    Raises:
        ValueError: If the output of the layer is not a feature map.
    """
    with torch.enable_grad():
        inputs = images.detach().clone().requires_grad_()
        logits: list[Tensor] = []
        handle = network.register_forward_hook(lambda _, __, output: logits.append(output))
        try:
            steps = trace(network, inputs)
        finally:
            handle.remove()
        if layer is None:
            maps = next((step.output for step in reversed(stages(steps)) if step.output.shape[-1] > 1), None)
        else:
            name = find_layer(network, layer)
            maps = next((step.output for step in reversed(steps) if step.name == name and step.output.ndim == 4), None)
        if maps is None:
            raise ValueError(f"Grad-CAM requires feature maps, which {layer or 'the network'!r} does not have")
        chosen = logits[0].gather(1, classes[:, None]).sum()
        (gradient,) = torch.autograd.grad(chosen, maps)
    weights = gradient.mean((2, 3), keepdim=True)
    return (weights * maps).sum(1).relu().detach()


class Photo(NamedTuple):
    """What a heat map is shown over.

    Attributes:
        image: An image [C, h, w] in [-1, 1].
        part: The part of it that the network sees, in pixels.
        name: Its caption.
    """

    image: Tensor
    part: Box
    name: str = ""


def grad_cam(
    network: nn.Module,
    images: Tensor,
    labels: Tensor | None = None,
    layer: str | None = None,
    class_names: Sequence[str] | None = None,
    photos: Sequence[Photo] | None = None,
) -> Figure:
    """Plot Grad-CAM heat maps of two classes for each of `images` [B, C, H, W] in [-1, 1], at most eight side by side.

    The classes are the two most likely ones; if the label (`labels`, int64 [B]) is not among them, it replaces the
    second. With labels, class names are blue if correct and orange otherwise. The maps are shown over the `photos` that
    the images were prepared from, by default over the images.
    """
    with torch.no_grad():
        probabilities = torch.cat([network(image[None]) for image in images]).float().softmax(1)
    chosen = probabilities.topk(min(2, probabilities.shape[1]), dim=1).indices
    if labels is not None:
        missed = (chosen != labels[:, None]).all(1)
        chosen[missed, -1] = labels[missed]
    height, width = images.shape[2:]
    shown = photos or [Photo(image, (0, 0, width, height)) for image in images]
    ratio = max(photo.image.shape[1] / photo.image.shape[2] for photo in shown)
    panel = _grid(len(images), 1 + chosen.shape[1], min(max(ratio, 0.4), 2))
    for i, photo in enumerate(shown):
        show_image(panel(0, i), photo.image)
        title(panel(0, i), shortened(photo.name) if labels is None else class_name(class_names, int(labels[i])), 9, INK)
    for row, classes in enumerate(chosen.T, start=1):
        heat = evidence(network, images, classes, layer)
        for i, photo in enumerate(shown):
            right = labels is None or int(labels[i]) == int(classes[i])
            _overlay(panel(row, i), photo, heat[i])
            caption = f"{class_name(class_names, int(classes[i]))} · {percent(float(probabilities[i, classes[i]]))}"
            title(panel(row, i), caption, 9, BLUE if right else ORANGE)
    return panel(0, 0).figure


def _grid(count: int, rows: int, ratio: float) -> Callable[[int, int], Any]:
    """The panels of a new figure by row and image, for images of a `ratio` of height to width: of one image in a line,
    of several in a column each."""
    if count == 1:
        line = panels(new_figure(2.2 * rows + 0.3, 2.2 * ratio + 0.4), 1, rows)
        return lambda row, i: line[row]
    across = min(count, _ACROSS)
    blocks = -(-count // across)
    figure = new_figure(1.55 * across + 0.3, (1.5 * ratio + 0.25) * rows * blocks + 0.3)
    grid = panels(figure, rows * blocks, across)
    return lambda row, i: grid[(i // across * rows + row) * across + i % across]


def _overlay(axes: Any, photo: Photo, heat: Tensor) -> None:
    """Show the photo in pale grey under its heat map."""
    left, upper, right, lower = photo.part
    size = max(1, round(lower - upper)), max(1, round(right - left))
    heat = F.interpolate(heat[None, None].float(), size=size, mode="bicubic", antialias=True)[0, 0].clamp_min(0).cpu()
    heat = heat / heat.max().clamp_min(1e-12)
    height, width = photo.image.shape[1:]
    gray = ((photo.image.detach().float().cpu().mean(0) + 1) / 2).clamp(0, 1)
    axes.imshow(gray.numpy(), cmap="gray", vmin=0, vmax=1, extent=(0, width, height, 0))
    style: dict[str, Any] = {"cmap": "inferno", "vmin": 0, "vmax": 1, "interpolation": "bilinear"}
    axes.imshow(heat.numpy(), alpha=(0.15 + 0.6 * heat).numpy(), extent=(left, right, lower, upper), **style)
    axes.set(xlim=(0, width), ylim=(height, 0))
    bare(axes)
