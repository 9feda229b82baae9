"""Boxes around the holes of a large image, so that the cost of inpainting depends on the holes, not on the image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Box:
    """A rectangle of an image: rows, columns, and which of its pixels [h, w] belong to its hole."""

    region: tuple[slice, slice]
    hole: Tensor

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.hole.numel()


def hole_boxes(hole: Tensor, size: tuple[int, int]) -> Iterator[Box]:
    """Boxes around the parts of a hole, each with a margin of half of `size` on every side.

    Parts with overlapping margins share a box. A box is at least `size` where the image allows it.

    Args:
        hole: The pixels to fill, bool [H, W].
        size: (height, width) of the training images.
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
    """`span` extended to a length of at least `side`, limited to the `full` pixels of the image."""
    missing = max(0, side - (span.stop - span.start))
    start = max(0, min(span.start - missing // 2, full - max(side, span.stop - span.start)))
    return slice(start, min(full, max(span.stop, start + side)))
