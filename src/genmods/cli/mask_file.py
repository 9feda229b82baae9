"""Mask files as editors and labelling tools write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genmods.core.errors import UserError
from genmods.core.luma import LUMA


def read_mask_file(path: Path) -> tuple[NDArray[np.bool_], list[str]]:
    """The white pixels of a mask file, or the opaque ones of a file that differs in alpha only.

    Grey and coloured pixels count if their brightness is at least half; transparent pixels are black; palettes and 16
    bits are read by value. In a file with the values 0 and 1, or labels 0, 1, 2 ..., all non-zero pixels count.

    Args:
        path: An image file.

    Returns:
        The mask, bool [H, W], and notes for the user, one line each.

    Raises:
        UserError: If the file is not an image.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            image.load()
            values, largest = _brightness(image)
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise UserError(f"--mask {path}: cannot be read as an image ({error})") from None
    top = values.max(initial=0)
    if 0 < top < largest / 8 and len(np.unique(values)) <= top + 1:
        return values > 0, [f"{path}: the largest value is {int(top)}; pixels above 0 are filled"]
    gray = ((values > 0.04 * largest) & (values < 0.96 * largest)).mean()
    notes = [f"{path}: {gray:.1%} of the pixels are grey; those of at least half the brightness are filled"]
    return values >= largest / 2, notes if gray else []


def _brightness(image) -> tuple[NDArray[np.float64], float]:  # type: ignore[no-untyped-def]
    """The brightness [H, W] of all pixels, and that of white."""
    if image.mode == "P" and "transparency" not in image.info:
        indices = np.asarray(image)
        if indices.max() <= 16:  # a label map, whose palette is for display only
            return indices.astype(np.float64), 255.0
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        pixels = np.asarray(image.convert("RGBA")).astype(np.float64)
        alpha, gray = pixels[..., 3] / 255, pixels[..., :3] @ LUMA
        flat = np.ptp(gray[alpha > 0.5]) < 1 if (alpha > 0.5).any() else True
        only_alpha = flat and alpha.min() < 0.5  # a single colour on a transparent background
        return (255 * alpha if only_alpha else gray * alpha), 255.0
    if image.mode in ("I", "I;16", "I;16B", "I;16L", "I;16N"):
        return np.asarray(image).astype(np.float64), 65535.0
    return np.asarray(image.convert("L")).astype(np.float64), 255.0
