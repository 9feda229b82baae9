"""Training images before and after augmentation."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

from genmods.visual.style import INK, MUTED, new_figure, panels, shortened, show_image, title


def before_and_after(columns: dict[str, Tensor], captions: Sequence[str], labels: Sequence[Sequence[str]]) -> Figure:
    """Plot images side by side, a row per image.

    Args:
        columns: The images [N, C, H, W] in [-1, 1] of each column, by its title.
        captions: The name of each image, such as its file.
        labels: The labels of each image, one per column.
    """
    height, width = next(iter(columns.values())).shape[-2:]
    side = 1.7 * min(2.0, width / height)
    figure = new_figure(side * len(columns) + 0.3, 2.15 * len(captions) + 0.3)
    axes = panels(figure, len(captions), len(columns))
    for row, caption in enumerate(captions):
        for column, (name, images) in enumerate(columns.items()):
            panel = axes[row * len(columns) + column]
            show_image(panel, images[row])
            if row == 0:
                title(panel, name, 8.5, MUTED)
            below = [shortened(text) for text in (labels[row][column],) if text]
            if column == 0:
                below.append(shortened(caption))
            panel.set_xlabel("\n".join(below), fontsize=7.5, color=INK, labelpad=2)
    return figure
