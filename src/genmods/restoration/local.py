"""Large images through a local network, tile by tile: exactly what the whole image would give, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Region = tuple[slice, slice]


def regions(height: int, width: int, tile: int, margin: int) -> Iterator[tuple[Region, Region, Region]]:
    """Tiles of an image with what has to be seen around them.

    Args:
        height, width: Of the image, in pixels.
        tile: Side of a tile.
        margin: How far around a tile is seen.

    Yields:
        What is seen, what of it is kept, and where that goes: pairs of slices of rows and columns.
    """
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            rows, columns = _span(top, tile, margin, height), _span(left, tile, margin, width)
            yield tuple(zip(rows, columns, strict=True))  # type: ignore[misc]


def _span(start: int, tile: int, margin: int, size: int) -> tuple[slice, slice, slice]:
    end = min(start + tile, size)
    first, last = max(start - margin, 0), min(end + margin, size)
    return slice(first, last), slice(start - first, end - first), slice(start, end)


def by_tiles(apply: Callable[[Tensor, Tensor], Tensor], y: Tensor, std: Tensor, tile: int, margin: int) -> Tensor:
    """`apply(y, std)` [B, C, H, W], computed tile by tile.

    It equals the whole image's result where a pixel depends on those within `margin` alone, and where the network's
    grid of patches begins anew at each multiple of it: `tile` and `margin` are multiples of that grid.

    Args:
        apply: A local map of images and their noise.
        y: Images [B, C, H, W].
        std: The standard deviation of their noise at each pixel, of the shape of `y`.
        tile: Side of a tile in pixels.
        margin: How far a pixel sees.
    """
    result = torch.empty_like(y)
    for seen, kept, place in regions(y.shape[2], y.shape[3], tile, margin):
        result[..., *place] = apply(y[..., *seen], std[..., *seen])[..., *kept]
    return result
