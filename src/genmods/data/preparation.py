"""How an image file becomes the input of a model: one record, used by training and all commands."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from genmods.core.luma import LUMA
from genmods.core.printable import counted
from genmods.data.formats.raster import Raster

Fit = Literal["crop", "pad", "stretch"]
"""How an image is fitted to another shape: "crop" to its centre, "pad" with a border, or "stretch"."""
Background = Literal["white", "black"]
Range = tuple[float, float]


@dataclass(frozen=True)
class Preparation:
    """How images are prepared. Checkpoints store that of their training.

    Attributes:
        size: (height, width) in pixels; None for images of one size.
        channels: Number of channels; None, before files are read, for 1 if all images are grey, 3 if some are RGB,
            otherwise the number that all have.
        fit: How images of another shape are fitted.
        background: The colour of transparent pixels and of the border of `pad`.
        range: The values of black and white in files; None for 0 and the white of the file's bit depth. In a data set
            with deeper files it does not apply to 8-bit files.
        levels: Number of values of a stored pixel, 0 ... levels - 1; None, before files are read, for that of the
            files.
        max_pixels: The largest number of pixels of a file.
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    fit: Fit = "crop"
    background: Background = "white"
    range: Range | None = None
    levels: int | None = None
    max_pixels: int = 80_000_000

    def plain(self) -> dict[str, Any]:
        """Plain data such that `Preparation.of(plain)` is equal."""
        return asdict(self)

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Preparation:
        """The record from plain data or JSON, which has lists instead of tuples."""
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in plain.items()}
        return cls(**values)

    @classmethod
    def of_shape(cls, shape: tuple[int, ...] | None) -> Preparation | None:
        """The record for images [C, H, W] of unknown files; None for other shapes."""
        return cls((shape[1], shape[2]), shape[0], levels=256) if shape is not None and len(shape) == 3 else None

    def ends(self, raster: Raster) -> Range:
        """The values of black and white in a raster. Raises ValueError if white is undefined and no range is set."""
        shallow = raster.values.dtype == np.uint8
        if self.range is not None and not (shallow and (self.levels or 0) > 256):
            return self.range
        if raster.white is None:
            raise ValueError(
                f"has {raster.values.dtype} values without a defined white; set data.range to [BLACK, WHITE]"
            )
        return 0.0, raster.white

    def pixels(self, raster: Raster) -> np.ndarray:
        """A raster as integers 0 ... levels - 1, float32 or uint8 [C, H, W].

        Raises ValueError if its channels cannot be converted, or if values are not finite.
        """
        assert self.channels is not None and self.levels is not None
        low, high = self.ends(raster)
        values: Any = raster.values
        top, alpha = self.levels - 1, raster.alpha
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError("has values that are not finite")
        if (low, high, top) != (0, 255, 255) or values.dtype != np.uint8 or alpha is not None:
            wide = np.float32 if values.dtype.itemsize <= 2 else np.float64
            values = ((values.astype(wide) - low) * (top / (high - low))).astype(np.float32)
        if alpha is not None and raster.white is not None:
            share = alpha[:, :, None].astype(np.float32) / raster.white
            if values.shape[2] + 1 == self.channels:
                values = np.concatenate([values, share * top], axis=2)
            else:
                values = values * share + (top if self.background == "white" else 0) * (1 - share)
        if self.size is not None and values.shape[:2] != self.size:
            values = framed(values, self.size, self.fit, top if self.background == "white" else 0)
        values = with_channels(values, self.channels, raster.color)
        if values.dtype != np.uint8:
            values = values.round().clip(0, top)
        return values.transpose(2, 0, 1)


def with_channels(values: np.ndarray, channels: int, color: int) -> np.ndarray:
    """Values [H, W, C] with another number of channels; the first `color` channels are grey or RGB.

    Raises ValueError if the conversion is not defined.
    """
    have = values.shape[2]
    if have == channels:
        return values
    if color == 3 and channels == 3:
        return values[:, :, :3]
    if color == 1 and channels == 3:
        return np.repeat(values[:, :, :1], 3, axis=2)
    if color == 3 and channels == 1:
        gray = values[:, :, :3] @ np.array(LUMA, dtype=np.float32)
        return (gray.round().astype(values.dtype) if values.dtype == np.uint8 else gray)[:, :, None]
    if color == 1 and channels == 1:
        return values[:, :, :1]
    raise ValueError(f"has {counted(have, 'channel')}, not {channels}")


Box = tuple[float, float, float, float]
"""Left, upper, right, lower, in pixels."""


def seen_part(size: tuple[int, int], of: tuple[int, int], fit: Fit) -> Box:
    """The part of an image of size `of` (height, width) that its prepared image of `size` shows; beyond the image for
    the border of `pad`."""
    height, width = of
    if fit == "stretch":
        return 0, 0, width, height
    scales = width / size[1], height / size[0]
    scale = min(scales) if fit == "crop" else max(scales)
    w, h = scale * size[1], scale * size[0]
    return (width - w) / 2, (height - h) / 2, (width + w) / 2, (height + h) / 2


def framed(values: np.ndarray, size: tuple[int, int], fit: Fit, border: float) -> np.ndarray:
    """Values [H, W, C], uint8 or float32, resized to (height, width), bicubic with antialiasing.

    Args:
        values: The image.
        size: The height and width of the result.
        fit: "crop" takes the largest central part of the right shape, "pad" adds a border, "stretch" distorts.
        border: The value of the border.
    """
    height, width = values.shape[:2]
    box: Box = (0, 0, width, height) if fit == "pad" else seen_part(size, (height, width), fit)
    inner = size
    if fit == "pad":
        scale = min(size[1] / width, size[0] / height)
        inner = (min(size[0], max(1, round(height * scale))), min(size[1], max(1, round(width * scale))))
    result = resampled(values, inner, box)
    if inner == size:
        return result
    whole = np.full((*size, values.shape[2]), border, dtype=values.dtype)
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    whole[top : top + inner[0], left : left + inner[1]] = result
    return whole


def resampled(values: np.ndarray, size: tuple[int, int], box: Box) -> np.ndarray:
    """The part `box` (left, upper, right, lower) of values [H, W, C], resized to (height, width)."""
    from PIL import Image

    together = values.dtype == np.uint8 and values.shape[2] == 3
    bands = [values] if together else [values[:, :, band] for band in range(values.shape[2])]
    resized = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(band)).resize(size[::-1], Image.Resampling.BICUBIC, box)
        ).reshape(*size, -1)
        for band in bands
    ]
    return np.concatenate(resized, axis=2)
