"""Large images with a local network, tile by tile: exactly the result of the whole image, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from genmods.core.progress import Progress

Region = tuple[slice, slice]


def regions(height: int, width: int, tile: int, margin: int) -> Iterator[tuple[Region, Region, Region]]:
    """Tiles of an image with their margins.

    Args:
        height, width: Size of the image in pixels.
        tile: Side of a tile in pixels.
        margin: Width of the margin around a tile in pixels.

    Yields:
        The tile with its margin, the tile within that, and the tile within the image: pairs of slices of rows and
        columns.
    """
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            rows, columns = _span(top, tile, margin, height), _span(left, tile, margin, width)
            yield tuple(zip(rows, columns, strict=True))  # type: ignore[misc]


def _span(start: int, tile: int, margin: int, size: int) -> tuple[slice, slice, slice]:
    end = min(start + tile, size)
    first, last = max(start - margin, 0), min(end + margin, size)
    return slice(first, last), slice(start - first, end - first), slice(start, end)


def by_tiles(
    apply: Callable[[Tensor, Tensor], Tensor],
    y: Tensor,
    std: Tensor,
    tile: int,
    margin: int,
    progress: Progress | None = None,
) -> Tensor:
    """`apply(y, std)` [B, C, H, W], computed tile by tile.

    The result equals that of the whole image if each pixel depends only on pixels within `margin`, and if `tile` and
    `margin` are multiples of the network's patch size.

    Args:
        apply: A local function of images and their noise.
        y: Images [B, C, H, W].
        std: Standard deviation of the noise per pixel, of the shape of `y`.
        tile: Side of a tile in pixels.
        margin: Radius of the receptive field in pixels.
        progress: Called as `progress(done, total)` with numbers of pixels.
    """
    done, total = 0, y.shape[2] * y.shape[3]
    result = torch.empty_like(y)
    for seen, kept, place in regions(y.shape[2], y.shape[3], tile, margin):
        result[..., *place] = apply(y[..., *seen], std[..., *seen])[..., *kept]
        if progress is not None:
            done += math.prod(span.stop - span.start for span in place)
            progress(done, total)
    return result
