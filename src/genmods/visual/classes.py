"""Plots of classifier performance: confusion matrix, worst mistakes, reliability diagram."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor

from genmods.core.printable import counted
from genmods.metrics.calibration import Reliability
from genmods.visual.style import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    class_name,
    new_figure,
    panels,
    percent,
    shortened,
    show_image,
    title,
)

_BLUES = LinearSegmentedColormap.from_list("ink", ["#ffffff", "#a9c8ea", BLUE, "#123a66"])
_MOST_NUMBERS = 25


class Indexed(Protocol):
    """Images by number."""

    def __getitem__(self, i: int, /) -> Tensor: ...


def confusion_matrix(counts: Tensor, class_names: Sequence[str] | None = None) -> Figure:
    """Plot confusion `counts` [K, K] (rows: true class, columns: predicted class) in percent of each row.

    Cells are annotated for up to 25 classes. A class without images has an empty row.
    """
    counts = counts.cpu().double()
    classes = len(counts)
    names = [class_name(class_names, k) for k in range(classes)]
    share = 100 * counts / counts.sum(1, keepdim=True).clamp_min(1)
    side = min(16.0, max(4.2, 0.62 * classes + 1.6))
    figure = new_figure(side + 0.6, side)
    axes = figure.subplots()
    axes.imshow(share.sqrt().numpy(), cmap=_BLUES, vmin=0, vmax=10)  # square root: rare confusions stay visible
    if classes <= _MOST_NUMBERS:
        _write_cells(axes, share)
    ticks = range(0, classes, max(1, classes // 40))
    axes.set_xticks(ticks, [names[k] for k in ticks], rotation=45, ha="right", rotation_mode="anchor", fontsize=9)
    axes.set_yticks(ticks, [names[k] for k in ticks], fontsize=9)
    axes.set_xticks([k - 0.5 for k in range(classes + 1)], minor=True)
    axes.set_yticks([k - 0.5 for k in range(classes + 1)], minor=True)
    axes.grid(which="minor", color="#e4e7eb", linewidth=0.6)
    axes.tick_params(which="both", length=0, colors=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel("predicted", color=MUTED)
    axes.set_ylabel("true", color=MUTED)
    correct, total = int(counts.diag().sum()), int(counts.sum())
    accuracy = f"{100 * correct / max(total, 1):.2f} %"
    axes.set_title(
        f"accuracy {accuracy} of {counted(total, 'image')}   (cells: % of the true class)", fontsize=10, color=INK
    )
    return figure


def _write_cells(axes: Axes, share: Tensor) -> None:
    for row, values in enumerate(share.tolist()):
        for column, value in enumerate(values):
            if value > 0:
                text = f"{value:.1f}" if value < 99.95 else "100"
                color = "white" if value > 30 else INK
                weight = "bold" if row == column else "normal"
                axes.text(column, row, text, ha="center", va="center", fontsize=8, color=color, fontweight=weight)


def worst_mistakes(
    images: Indexed,
    labels: Tensor,
    probabilities: Tensor,
    class_names: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    most: int = 24,
) -> Figure:
    """Plot the misclassified `images` with the most confident wrong predictions, worst first.

    Args:
        images: Images by index, `images[i]` [C, H, W] in [-1, 1].
        labels: True classes, int64 [N].
        probabilities: Predicted probabilities [N, K].
        class_names: Names of the K classes.
        names: Name of each image, such as its file, shown below it.
        most: Maximum number of images.
    """
    certainty, predicted = probabilities.float().cpu().max(1)
    wrong = (predicted != labels.cpu()).nonzero()[:, 0]
    order = wrong[certainty[wrong].argsort(descending=True)][:most].tolist()
    columns = min(8, max(4, len(order)))
    rows = max(1, math.ceil(len(order) / columns))
    figure = new_figure(1.45 * columns, (1.75 if names is None else 1.95) * rows + 0.4)
    figure.suptitle(f"{len(wrong):,} of {len(labels):,} wrong; the most confident mistakes", fontsize=11, color=INK)
    for axes, i in zip(panels(figure, rows, columns), order, strict=False):
        show_image(axes, images[i])
        title(axes, f"{class_name(class_names, int(predicted[i]))} · {percent(float(certainty[i]))}", 8.5, ORANGE)
        true = f"is {class_name(class_names, int(labels[i]))}"
        below = true if names is None else f"{true}\n{shortened(names[i])}"
        axes.set_xlabel(below, fontsize=8.5, color=INK, labelpad=3)
    return figure


def reliability_diagram(tables: dict[str, Reliability]) -> Figure:
    """Reliability diagram: accuracy against confidence, one panel per entry of `tables` (title -> table).

    Bars show the accuracy per bin, the orange part the gap to the diagonal; the histogram below shows the share of
    predictions per bin.
    """
    figure = new_figure(4.1 * len(tables), 4.9)
    axes = figure.subplots(2, len(tables), squeeze=False, height_ratios=[3.2, 1], sharex=True)
    for column, (name, table) in enumerate(tables.items()):
        _bins(axes[0, column], name, table)
        below, filled = axes[1, column], table.total > 0
        width = float(table.edges[1] - table.edges[0])
        share = 100 * table.total / table.total.sum()
        below.bar(table.edges[:-1][filled], share[filled], width, align="edge", color=MUTED, edgecolor="white")
        below.set_xlabel("confidence", color=INK)
        for panel in axes[:, column]:
            panel.spines[["top", "right"]].set_visible(False)
            panel.tick_params(colors=INK, labelsize=8)
    axes[0, 0].set_ylabel("accuracy", color=INK)
    axes[1, 0].set_ylabel("% of images", color=INK)
    return figure


def _bins(axes: Axes, name: str, table: Reliability) -> None:
    filled = table.total > 0
    left, width = table.edges[:-1][filled], float(table.edges[1] - table.edges[0])
    accuracy, confidence = table.accuracy[filled], table.confidence[filled]
    axes.bar(left, accuracy, width, align="edge", color=BLUE, edgecolor="white")
    low, gap = torch.minimum(accuracy, confidence), (accuracy - confidence).abs()
    axes.bar(left, gap, width, bottom=low, align="edge", color=ORANGE, alpha=0.45, edgecolor=ORANGE, hatch="//")
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle="--")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_title(f"{name}: ECE {100 * table.ece:.2f} %", fontsize=10.5, color=INK)
