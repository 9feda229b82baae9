"""Settings of images that are one number or several: the sides of a rectangle, a value per channel."""

from __future__ import annotations

from collections.abc import Sequence

Size = int | tuple[int, int]
"""The size of an image in pixels: the side of a square, or (height, width)."""
PerChannel = float | tuple[float, ...]
"""A number for all channels, or one per channel."""


def sides(size: Size) -> tuple[int, int]:
    """The (height, width) of a size; raises ValueError where one of them is below 1."""
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise ValueError(f"image_size must be at least 1, got {size if isinstance(size, int) else list(size)}")
    return height, width


def size_of(height: int, width: int) -> Size:
    """The side of a square, or (height, width)."""
    return height if height == width else (height, width)


def per_channel(value: PerChannel | Sequence[float], channels: int) -> tuple[float, ...]:
    """One number per channel; raises ValueError where there are neither 1 nor `channels` of them."""
    values = (float(value),) if isinstance(value, int | float) else tuple(float(one) for one in value)
    if len(values) not in (1, channels):
        raise ValueError(f"{len(values)} numbers were given for {channels} channels")
    return values * channels if len(values) == 1 else values
