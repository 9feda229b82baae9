"""Boxes around the holes of a large image, so that the cost of inpainting depends on the holes, not on the image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genmods.core.errors import UserError
from genmods.restoration.operators import ShapedMask


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


def grouped_boxes(holes: Tensor, exact: Tensor, size: tuple[int, int]) -> list[tuple[Tensor, list[Box]]]:
    """The boxes of each image of a batch, which depend on its own hole only.

    Args:
        holes: The pixels to fill, bool [B, H, W].
        exact: The images whose known pixels remain unchanged, bool [B]; only these use boxes.
        size: (height, width) of the training images.

    Returns:
        Groups of images with the same boxes: their rows (int64) and the boxes. The group of images whose boxes are not
        smaller than half of the image has one box, the whole image. Empty if that is every image.
    """
    groups: list[tuple[Tensor, list[Box]]] = []
    whole = torch.ones(len(holes), dtype=torch.bool)
    found, which = holes.cpu().unique(dim=0, return_inverse=True)
    for number, hole in enumerate(found):
        boxes, rows = list(hole_boxes(hole, size)), (which == number) & exact.cpu()
        if rows.any() and sum(box.pixels for box in boxes) < hole.numel() / 2:
            groups.append((rows.nonzero().flatten(), boxes))
            whole &= ~rows
    if groups and whole.any():
        region = (slice(0, holes.shape[1]), slice(0, holes.shape[2]))
        groups.append((whole.nonzero().flatten(), [Box(region, torch.ones(holes.shape[1:], dtype=torch.bool))]))
    return groups


def _widened(span: slice, side: int, full: int) -> slice:
    """`span` extended to a length of at least `side`, limited to the `full` pixels of the image."""
    missing = max(0, side - (span.stop - span.start))
    start = max(0, min(span.start - missing // 2, full - max(side, span.stop - span.start)))
    return slice(start, min(full, max(span.stop, start + side)))


def known_pixels(images: Tensor, hole: Tensor | ShapedMask) -> Tensor:
    """The pixels of images [B, C, H, W] outside of a hole, bool [B, 1, H, W]; raises UserError for another shape."""
    if isinstance(hole, ShapedMask):
        hole = hole.hole(*images.shape[-2:])
    size = images.shape[-2:]
    if hole.dtype != torch.bool or hole.shape not in (size, (len(images), *size)):
        sizes = f"bool {list(size)} or {[len(images), *size]}"
        raise UserError(f"hole must be {sizes}, got {str(hole.dtype).removeprefix('torch.')} {list(hole.shape)}")
    return ~hole.to(images.device).expand(len(images), *size)[:, None]
