"""Reads and writes image files, preserving their mode: grey or colour, 8 or 16 bits, with or without alpha.

Values are 2v/(2^bits - 1) - 1 in float32, whose 24-bit mantissa represents 16-bit values exactly.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from genmods.core.errors import UserError
from genmods.data import png16

_BITS_PER_SAMPLE, _PHOTOMETRIC, _ORIENTATION = 258, 262, 274  # tags of TIFF 6.0, the last of EXIF 2.32 too
_DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")


@dataclass
class Picture:
    """An image with the properties of its file.

    Args:
        image: float32 [C, H, W] in [-1, 1], C = 1 (grey) or 3 (RGB).
        alpha: float32 [1, H, W] in [0, 1], or None.
        bits: Bits per channel, 8 or 16.
        icc: The ICC colour profile, or None.
    """

    image: Tensor
    alpha: Tensor | None = None
    bits: int = 8
    icc: bytes | None = None


@contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    """Context that converts any error to a UserError that names the file."""
    try:
        yield
    except Exception as error:
        raise UserError(f"{path}: {_reason(error, path)}") from None


def open_image(path: str | Path, max_pixels: int = 80_000_000) -> Image.Image:
    """Open an image with Pillow, without decoding; raises UserError if it is not an image or too large."""
    with _naming(path), warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(path)
        if image.format == "TIFF" and image.tag_v2.get(_ORIENTATION, 1) > 4:  # type: ignore[attr-defined]
            with image:  # of a file on the disk Pillow would map the rows with width and height exchanged
                image = Image.open(io.BytesIO(Path(path).read_bytes()))
    if image.width * image.height > max_pixels:
        raise UserError(f"{path}: must have at most {max_pixels:,} pixels, got {image.width} x {image.height}")
    return image


def decode(image: Image.Image, path: str | Path) -> Image.Image:
    """Decode the first frame of an opened image, upright, to mode L, LA, RGB, RGBA, or I;16 (16-bit grey)."""
    with _naming(path):
        image.load()
        inverted = image.mode in _DEEP_MODES and getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0  # white is zero
        image = ImageOps.exif_transpose(image)
        if image.mode in _DEEP_MODES:
            values = np.asarray(image).astype(np.int64)
            if values.min() < 0 or values.max() > 65535:
                raise ValueError("has values beyond 16 bits")
            return Image.fromarray((65535 - values if inverted else values).astype(np.uint16))
        if image.mode == "F":
            raise ValueError("has floating-point values, for which white is undefined")
        return image.convert(plain_mode(image))


def plain_mode(image: Image.Image) -> str:
    """The mode to which an image is decoded: L, LA, RGB, RGBA, or I;16 for 16-bit grey."""
    if image.mode in _DEEP_MODES:
        return "I;16"
    transparent = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    grey = image.mode in ("1", "L", "LA", "La")
    return ("L" if grey else "RGB") + ("A" if transparent else "")


def read_image(path: str | Path) -> Picture:
    """Read an image file (PNG, JPEG, WebP, TIFF ...) with its bit depth and alpha; palette and CMYK become RGB.

    Raises UserError, with the file name, if it is broken.
    """
    opened = open_image(path)
    icc = None if opened.mode in ("CMYK", "LAB") else opened.info.get("icc_profile")
    if opened.format == "PNG" and opened.mode not in _DEEP_MODES and png16.png_depth(path) == 16:
        with _naming(path):
            pixels = _upright(png16.read_png(path), opened)
    elif opened.format == "TIFF" and opened.mode in ("RGB", "RGBA") and 16 in opened.tag_v2.get(_BITS_PER_SAMPLE, ()):  # type: ignore[attr-defined]
        with _naming(path):
            pixels = _upright(png16.read_tiff(path), opened)
    else:
        pixels = np.asarray(decode(opened, path))
    bits = 8 * pixels.dtype.itemsize
    values = torch.from_numpy(pixels.astype(np.float32)).reshape(*pixels.shape[:2], -1).permute(2, 0, 1) / (2**bits - 1)
    channels = 1 if len(values) < 3 else 3
    alpha = values[channels:].contiguous() if len(values) > channels else None
    return Picture(values[:channels].mul(2).sub(1).contiguous(), alpha, bits, icc)


def write_image(path: str | Path, picture: Picture) -> None:
    """Write a picture in the format of the path's suffix, losslessly except for JPEG (quality 95).

    Raises UserError if the format does not support 16 bits or alpha.
    """
    path = Path(path)
    values = (picture.image.detach().cpu().float() + 1) / 2
    if picture.alpha is not None:
        values = torch.cat([values, picture.alpha.detach().cpu().float()])
    white = 2**picture.bits - 1
    pixels = (values.clamp(0, 1).double() * white).round().permute(1, 2, 0).numpy()
    pixels = pixels.astype(np.uint16 if picture.bits == 16 else np.uint8)
    suffix = path.suffix.lower()
    if picture.bits == 16 and suffix == ".png":
        png16.write_png(path, pixels, picture.icc)
        return
    if picture.bits == 16 and suffix in (".tif", ".tiff") and pixels.shape[2] != 2:
        png16.write_tiff(path, pixels, picture.icc)
        return
    if picture.bits == 16:
        raise UserError(f"{path}: {suffix} does not support this 16-bit image; use .png")
    if picture.alpha is not None and suffix in (".jpg", ".jpeg", ".bmp"):
        raise UserError(f"{path}: {suffix} does not support transparency; use .png")
    settings: dict[str, dict] = {
        ".webp": {"lossless": True, "exact": True},
        ".jpg": {"quality": 95},
        ".jpeg": {"quality": 95},
    }
    try:
        whole = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
        whole.save(path, icc_profile=picture.icc, **settings.get(suffix, {}))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be written: {error}") from None


def _reason(error: Exception, path: str | Path) -> str:
    """The error as text that follows the file name."""
    if isinstance(error, UnidentifiedImageError):
        return "is empty" if os.path.getsize(path) == 0 else "is not an image"
    if isinstance(error, Image.DecompressionBombError):
        return "has too many pixels"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    return (str(error) or type(error).__name__).splitlines()[0]


def _upright(pixels: np.ndarray, opened: Image.Image) -> np.ndarray:
    """`pixels` [H, W, C] rotated according to the orientation tag of the file `opened`."""
    orientation = opened.getexif().get(_ORIENTATION, 1)
    pixels = np.rot90(pixels, {3: 2, 4: 2, 5: 3, 6: 3, 7: 1, 8: 1}.get(orientation, 0))
    return pixels[:, ::-1] if orientation in (2, 4, 5, 7) else pixels
