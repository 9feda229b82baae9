"""Mask files as editors and labelling tools write them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genmods.core.errors import UserError
from genmods.core.luma import LUMA

if TYPE_CHECKING:
    from genmods.data.formats.raster import Raster

Mask = NDArray[np.bool_]
_BLACK, _WHITE = 0.04, 0.96
"""The limits of what is grey, relative to white."""
_PHOTOGRAPH = 0.2
"""The least share of grey pixels of a photograph, which has no mask in its colours."""


def read_mask_file(path: Path) -> tuple[Mask, list[str]]:
    """The white pixels of a mask file, or the opaque ones of a file that differs in alpha only.

    Grey and coloured pixels count if their brightness is at least half; transparent pixels are black. In a file with
    the values 0 and 1, or labels 0, 1, 2 ..., or a palette that is not grey, all non-zero pixels count; in a photograph
    the transparent ones.

    Args:
        path: An image file in any format of `genmods.data.formats`.

    Returns:
        The mask, bool [H, W], and notes for the user, one line each.

    Raises:
        UserError: If the file is not an image, or has neither 1 nor 3 channels.
    """
    from genmods.data.files import naming, open_image
    from genmods.data.formats.raster import quiet_decoders

    try:
        with quiet_decoders(), naming(path):
            raster, labels = open_image(path).read(), _palette_indices(path)
    except UserError as error:
        raise UserError(f"--mask {error}") from None
    if labels is not None:
        return labels > 0, [f"{path}: the largest value is {labels.max()}; pixels above 0 are filled"]
    if raster.values.shape[2] not in (1, 3):
        raise UserError(f"--mask {path}: must have 1 or 3 channels, got {raster.values.shape[2]}")
    if raster.values.dtype.kind == "f" and not np.isfinite(raster.values).all():
        raise UserError(f"--mask {path}: has values that are not finite")
    return _by_brightness(path, raster)


def _by_brightness(path: Path, raster: Raster) -> tuple[Mask, list[str]]:
    values = raster.values.astype(np.float64)
    values = values @ LUMA if values.shape[2] == 3 else values[:, :, 0]
    white = _white(raster, values.max(initial=0))
    if raster.alpha is not None:
        opacity = raster.alpha / (raster.white or white)
        seen = values[opacity > 0.5]
        if opacity.min() < 0.5:
            if not len(seen) or np.ptp(seen) < white / 255:  # a single colour on a transparent background
                return opacity >= 0.5, _about_gray(path, opacity, 1.0)
            if _gray(seen, white) > _PHOTOGRAPH:
                return opacity < 0.5, [f"{path}: is a photograph, whose transparent pixels are filled"]
        values = values * opacity
    top = values.max(initial=0)
    if 0 < top < white / 8 and len(np.unique(values)) <= top + 1:
        return values > 0, [f"{path}: the largest value is {int(top)}; pixels above 0 are filled"]
    return values >= white / 2, _about_gray(path, values, white)


def _white(raster: Raster, largest: float) -> float:
    """The value of white, also of files of more than 8 bits with values of 8, and of types without a defined one."""
    if raster.white is not None and not (raster.white > 255 and largest == 255):
        return raster.white
    return next(float(white) for white in (1, 255, 65535, max(largest, 1)) if largest <= white)


def _gray(values: NDArray[np.float64], white: float) -> float:
    """The share of grey `values`."""
    return float(((values > _BLACK * white) & (values < _WHITE * white)).mean())


def _about_gray(path: Path, values: NDArray[np.float64], white: float) -> list[str]:
    share = _gray(values, white)
    line = f"{path}: {share:.1%} of the pixels are grey; those of at least half the brightness are filled"
    return [line] if share else []


def _palette_indices(path: Path) -> NDArray[np.uint8] | None:
    """The labels [H, W] of a file with a palette for display only: not one of greys up to white."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if image.mode != "P" or "transparency" in image.info:
                return None
            indices, colors = np.asarray(image), np.asarray(image.convert("RGB")).reshape(-1, 3) / 255
    except UnidentifiedImageError:  # .npy, and TIFF of other kinds
        return None
    is_gray = bool((np.ptp(colors, axis=1) < _BLACK).all())
    return None if is_gray and colors.max() > _WHITE else indices
