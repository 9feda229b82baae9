"""The holes of a large image as boxes: filling a hole costs what the hole costs, not what the image does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Box:
    """A part of an image: its rows and columns, and which of its pixels [h, w] are of the hole that it is for."""

    region: tuple[slice, slice]
    hole: Tensor

    @property
    def pixels(self) -> int:
        """The number of its pixels."""
        return self.hole.numel()


def hole_boxes(hole: Tensor, size: tuple[int, int]) -> Iterator[Box]:
    """Boxes around the parts of a hole, each with a margin of half of `size` around it.

    Parts whose margins meet are in one box. A box is at least `size` where the image is.

    Args:
        hole: The pixels to fill, bool [H, W].
        size: The (height, width) of the images that the model was trained on.
    """
    from scipy import ndimage

    mask = hole.cpu().numpy()
    margins = [-(-side // 2) for side in size]
    near = mask
    for axis, margin in enumerate(margins):
        near = ndimage.maximum_filter1d(near.astype(np.uint8), 2 * margin + 1, axis=axis, mode="constant")
    labels, count = ndimage.label(near)
    for number, region in enumerate(ndimage.find_objects(labels, count), start=1):
        spans = [_widened(span, side, full) for span, side, full in zip(region, size, mask.shape, strict=True)]
        rows, columns = spans
        own = mask[rows, columns] & (labels[rows, columns] == number)
        yield Box((rows, columns), torch.from_numpy(own))


def _widened(span: slice, side: int, full: int) -> slice:
    """`span` made at least `side` long, where the image of `full` pixels is."""
    missing = max(0, side - (span.stop - span.start))
    start = max(0, min(span.start - missing // 2, full - max(side, span.stop - span.start)))
    return slice(start, min(full, max(span.stop, start + side)))
