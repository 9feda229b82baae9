"""Plots of the bits of each pixel of an image."""

from __future__ import annotations

from matplotlib.figure import Figure
from torch import Tensor

from genmods.visual.style import new_figure, show_image, show_map, title


def bits_map(image: Tensor, bits: Tensor) -> Figure:
    """Plot an image [C, H, W] in [-1, 1] beside its bits per pixel [C, H, W], summed over the channels."""
    figure = new_figure(5.4, 2.7)
    left, right = figure.subplots(1, 2)
    show_image(left, image)
    title(left, "image", 10)
    total = bits.sum(0).float()
    show_map(right, total)
    title(right, f"bits per pixel: {total.min():.1f} to {total.max():.1f}", 10)
    return figure
