"""Plots of feature maps for an image, and of the filters of the first layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from genmods.visual.style import INK, MUTED, new_figure, panels, shape_text, show_image, show_map, split, title
from genmods.visual.trace import Step, find_layer, stages, trace


@torch.no_grad()
def activations(network: nn.Module, layer: str, *inputs: Any) -> Tensor:
    """The feature maps [C, h, w] of `layer` for one image; raises ValueError if its output is not a feature map."""
    name = find_layer(network, layer)
    outputs = [step.output for step in trace(network, *inputs) if step.name == name]
    if not outputs or outputs[-1].ndim != 4:
        raise ValueError(f"the output of layer {layer!r} is not a feature map")
    return outputs[-1][0]


def strongest(maps: Tensor, n: int) -> list[int]:
    """The `n` channels of `maps` [C, h, w] with the highest variance over the image, in descending order."""
    return maps.float().flatten(1).std(1, correction=0).argsort(descending=True)[:n].tolist()


def feature_maps(network: nn.Module, layer: str, image: Tensor, most: int = 64, inputs: tuple | None = None) -> Figure:
    """Plot the `most` strongest feature maps of a layer for `image` [C, H, W] in [-1, 1], each on its own scale.

    `inputs` are the arguments of the network, by default the image.
    """
    maps = activations(network, layer, *(inputs or (image[None],)))
    chosen = sorted(strongest(maps, most))
    columns = min(len(chosen), max(4, math.ceil(math.sqrt(1.8 * len(chosen)))))
    rows = math.ceil(len(chosen) / columns)
    figure = new_figure(2.2 + 0.85 * columns, max(2.4, 0.95 * rows + 0.5))
    left, right = split(figure, [2.2, 0.85 * columns])
    axes = left.subplots()
    show_image(axes, image)
    title(axes, "input", 10)
    kept = f"{len(chosen)} strongest of " if len(chosen) < len(maps) else ""
    right.suptitle(f"{layer}: {kept}{shape_text(maps.shape)}", fontsize=10, color=INK)
    for axes, channel in zip(panels(right, rows, columns), chosen, strict=False):
        show_map(axes, maps[channel])
        title(axes, str(channel), 6, MUTED)
    return figure


@torch.no_grad()
def feature_overview(
    network: nn.Module,
    image: Tensor,
    layers: list[str] | None = None,
    columns: int = 8,
    inputs: tuple | None = None,
) -> Figure:
    """Plot the strongest feature maps of several layers for an image [C, H, W] in [-1, 1], one row per layer.

    `layers` defaults to the last layer of each resolution; `inputs` as in `feature_maps`. Raises ValueError if the
    network has no feature maps.
    """
    steps = trace(network, *(inputs or (image[None],)))
    chosen: list[Step] = stages(steps)
    if layers is not None:
        names = [find_layer(network, layer) for layer in layers]
        chosen = [step for name in names for step in steps if step.name == name]
    chosen = [step for step in chosen if step.output.shape[-1] > 1] or chosen
    if not chosen:
        raise ValueError(f"a {type(network).__name__} has no feature maps")
    figure = new_figure(2.0 + 1.05 * columns, max(2.4, 1.3 * len(chosen)))
    left, right = split(figure, [2.0, 1.05 * columns])
    axes = left.subplots()
    show_image(axes, image)
    title(axes, "input", 10)
    rows = np.asarray(right.subfigures(len(chosen), 1, squeeze=False)).flat
    for row, step in zip(rows, chosen, strict=True):
        maps = step.output[0]
        row.suptitle(f"{step.name}   {shape_text(maps.shape)}", fontsize=9, color=INK, x=0.02, ha="left")
        for axes, channel in zip(panels(row, 1, columns), strongest(maps, columns), strict=False):
            show_map(axes, maps[channel])
    return figure


def first_filters(network: nn.Module) -> tuple[str, Tensor]:
    """Name and weights [out, in, h, w] of the first convolution larger than 1x1; raises ValueError if there is none."""
    for name, tensor in network.state_dict().items():
        if tensor.ndim == 4 and max(tensor.shape[2:]) > 1:
            return name.removesuffix(".weight"), tensor
    raise ValueError(f"{type(network).__name__} has no convolution larger than 1x1")


def filters(network: nn.Module, most: int = 64) -> Figure:
    """Plot the filters of the first layer: in colour for three input channels, otherwise from blue to red."""
    name, weights = first_filters(network)
    weights = weights[:most].detach().float().cpu()
    columns = math.ceil(math.sqrt(1.8 * len(weights)))
    rows = math.ceil(len(weights) / columns)
    figure = new_figure(0.75 * columns + 0.4, 0.75 * rows + 0.7)
    figure.suptitle(f"filters of {name}   {shape_text(weights.shape)}", fontsize=10, color=INK)
    for axes, weight in zip(panels(figure, rows, columns), weights, strict=False):
        if len(weight) == 3:
            show_image(axes, weight / weight.abs().max().clamp_min(1e-12))
        else:
            show_map(axes, weight.mean(0), "RdBu_r", symmetric=True)
    return figure
