"""The result of decoding a file: the values of one image, upright, with its bit depth and channels."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Raster:
    """One decoded image.

    Attributes:
        values: [H, W, C] of uint8, uint16, a wider integer type or float.
        white: The value of white; None if undefined (float, signed, 32 bits).
        alpha: Opacity [H, W] in 0 ... `white`, or None.
        colour: Number of leading colour channels: 1 (grey), 3 (RGB), or 0 (unknown).
        icc: The colour profile as stored in a file, or None.
    """

    values: np.ndarray
    white: float | None
    alpha: np.ndarray | None = None
    color: int = 0
    icc: bytes | None = None

    def turned(self, orientation: int) -> Raster:
        """The image rotated by an EXIF orientation, 1 ... 8; unchanged for other values."""
        alpha = None if self.alpha is None else turned(self.alpha, orientation)
        return replace(self, values=turned(self.values, orientation), alpha=alpha)


class ImageFile(Protocol):
    """An image file whose header has been read.

    Attributes:
        size: (height, width) of the upright image.
        channels: Channels without alpha.
        colour: See `Raster`.
        alpha: Whether there is transparency.
        white: See `Raster`.
        whole: Whether the values are integers.
        pages: Number of images in the file, of which the first is read.
    """

    size: tuple[int, int]
    channels: int
    color: int
    alpha: bool
    white: float | None
    whole: bool
    pages: int

    def read(self, least: tuple[int, int] | None = None) -> Raster:
        """Decodes the image; reduced to no less than `least` (height, width) if the format supports it."""
        ...


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels [H, W, ...] rotated and reflected by an EXIF orientation."""
    pixels = np.rot90(pixels, {3: 2, 4: 2, 5: 3, 6: 3, 7: 1, 8: 1}.get(orientation, 0))
    return pixels[:, ::-1] if orientation in (2, 4, 5, 7) else pixels


def opaque(color: np.ndarray, alpha: np.ndarray, white: float) -> np.ndarray:
    """Colour [H, W, C] divided by the premultiplied `alpha` [H, W] in 0 ... `white`."""
    share = np.maximum(alpha, 1)[..., None].astype(np.float64)
    return np.minimum(np.rint(color * (white / share)), white).astype(color.dtype)


def white_of(dtype: np.dtype, bits: int | None = None) -> float | None:
    """The value of white for unsigned integers of up to 16 `bits`; None for other types."""
    if dtype.kind == "b":
        return 1.0
    bits = bits or 8 * dtype.itemsize
    return float(2**bits - 1) if dtype.kind == "u" and bits <= 16 else None


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """A context without warnings of decoders, which do not name the file."""
    loggers = [logging.getLogger(name) for name in ("PIL", "tifffile")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
