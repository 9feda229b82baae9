"""The common style of all figures: fonts, colours, image panels. Figures are built without pyplot's global state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from genmods.core.printable import printable

_LONGEST = 40
INK, MUTED, BLUE, ORANGE = "#1f2933", "#7b8794", "#2f6fb2", "#e07a2f"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of `width` x `height` inches with a constrained layout on the Agg canvas."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def split(figure: Figure, widths: Sequence[float]) -> list[SubFigure]:
    """Split a figure into subfigures side by side with width ratios `widths`."""
    parts = figure.subfigures(1, len(widths), squeeze=False, width_ratios=list(widths))
    return list(np.asarray(parts).flat)


def panels(figure: Figure | SubFigure, rows: int, columns: int) -> list[Axes]:
    """A grid of panels, row by row, each hidden until an image is shown in it."""
    axes = list(np.asarray(figure.subplots(rows, columns, squeeze=False)).flat)
    for panel in axes:
        panel.set_axis_off()
    return axes


def save(figure: Figure, path: str | Path, dpi: int = 160) -> None:
    """Write a figure in the format given by the suffix of `path` (png, svg, pdf); creates the folder."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi)


def as_image(figure: Figure, dpi: int = 100) -> Tensor:
    """A figure as pixels, uint8 [3, H, W], for a logger."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return torch.from_numpy(np.asarray(canvas.buffer_rgba())[..., :3].copy()).permute(2, 0, 1)


def title(axes: Axes, text: str, size: float = 9, color: str = INK) -> None:
    """Set the title of a panel."""
    axes.set_title(text, fontsize=size, color=color, pad=4)


def bare(axes: Axes) -> None:
    """Remove ticks and frame of a panel."""
    axes.set_axis_on()
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def show_image(axes: Axes, image: Tensor) -> None:
    """Show an image [C, H, W] in [-1, 1]: in colour for three channels, otherwise the first channel in grey."""
    pixels = ((image.detach().float().cpu() + 1) / 2).clamp(0, 1)
    if len(pixels) == 3:
        axes.imshow(pixels.permute(1, 2, 0).numpy())
    else:
        axes.imshow(pixels[0].numpy(), cmap="gray", vmin=0, vmax=1)
    bare(axes)


def show_map(axes: Axes, values: Tensor, cmap: str = "viridis", symmetric: bool = False) -> None:
    """Show a map [H, W] on its own scale, `symmetric` about zero or from its minimum to its maximum."""
    values = values.detach().float().cpu()
    low, high = float(values.min()), float(values.max())
    if symmetric:
        high = max(abs(low), abs(high)) or 1.0
        low = -high
    axes.imshow(values.numpy(), cmap=cmap, vmin=low, vmax=high, interpolation="nearest")
    bare(axes)


def shape_text(shape: Sequence[int]) -> str:
    """A shape for captions: 64 × 14 × 14."""
    return " × ".join(str(size) for size in shape)


def shortened(name: str, length: int = 24) -> str:
    """The last characters of any name, the most informative part of a path, for figures."""
    shown = printable(name)
    return _drawn(shown if len(shown) <= length else f"…{shown[1 - length :]}")


def percent(probability: float) -> str:
    """A probability in whole percent, small ones as "<1 %" and near-certain ones as ">99 %"."""
    if 0 < probability < 0.005:
        return "<1 %"
    return ">99 %" if 0.995 < probability < 1 else f"{100 * probability:.0f} %"


def class_name(class_names: Sequence[str] | None, index: int) -> str:
    """The name of a class for figures, or its index if there are no names."""
    if class_names is None:
        return str(index)
    shown = printable(class_names[index])
    return _drawn(shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…")


def _drawn(text: str) -> str:
    return text.replace("$", r"\$")  # which matplotlib would read as mathematics
