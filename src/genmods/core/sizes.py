"""Image settings with one or several numbers: the sides of a rectangle, a value per channel."""

from __future__ import annotations

from collections.abc import Sequence

Size = int | tuple[int, int]
"""The size of an image in pixels: the side of a square, or (height, width)."""
PerChannel = float | tuple[float, ...]
"""A number for all channels, or one per channel."""


def sides(size: Size) -> tuple[int, int]:
    """The (height, width) of a size; raises ValueError if one of them is below 1."""
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise ValueError(f"image_size must be at least 1, got {size if isinstance(size, int) else list(size)}")
    return height, width


def size_of(height: int, width: int) -> Size:
    """The side of a square, or (height, width)."""
    return height if height == width else (height, width)


def per_channel(value: PerChannel | Sequence[float], channels: int) -> tuple[float, ...]:
    """One number per channel; raises ValueError unless there are 1 or `channels` numbers."""
    values = (float(value),) if isinstance(value, int | float) else tuple(float(one) for one in value)
    if len(values) not in (1, channels):
        raise ValueError(f"there must be 1 number or one per channel, {channels}, got {len(values)}")
    return values * channels if len(values) == 1 else values
