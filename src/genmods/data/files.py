"""Reads and writes image files and preserves their mode: grey or colour, 8 or 16 bits, with or without alpha.

Values are 2v/(2^bits - 1) - 1 in float32, whose 24-bit mantissa represents 16-bit values exactly.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from genmods.core.atomic import replacing
from genmods.core.errors import UserError, first_line
from genmods.core.lfs import ADVICE, is_pointer
from genmods.core.printable import counted
from genmods.data import png16
from genmods.data.formats.arrays import ArrayFile
from genmods.data.formats.exif import read_exif
from genmods.data.formats.pillow import open_pillow
from genmods.data.formats.raster import ImageFile, quiet_decoders
from genmods.data.preparation import Preparation, Range
from genmods.data.walk import HEIC

_BAND = 128
"""Rows that are converted together."""


@dataclass
class Picture:
    """One image.

    Attributes:
        image: float32 [C, H, W] in [-1, 1], with C = 1 (grey), 3 (RGB) or any other number.
        alpha: Opacity float32 [1, H, W] in [0, 1], or None.
        bits: 8 or 16.
        icc: The colour profile as stored in a file, or None.
        ends: The values of black and white in a file; None for 0 and the largest value of the bit depth.
        exif: The EXIF data of a file without its orientation, or None.
    """

    image: Tensor
    alpha: Tensor | None = None
    bits: int = 8
    icc: bytes | None = None
    ends: Range | None = None
    exif: bytes | None = None

    def stored(self) -> np.ndarray:
        """The values to store in a file, uint8 or uint16 [H, W, C], with alpha last."""
        white = 2**self.bits - 1
        channels = len(self.image) + (self.alpha is not None)
        values = np.empty((*self.image.shape[1:], channels), np.uint16 if self.bits == 16 else np.uint8)
        for top in range(0, len(values), _BAND):  # float64 of a whole photograph would need much memory
            band = slice(top, top + _BAND)
            low, high = self.ends or (0, white)
            part = ((self.image[:, band].detach().cpu().float() + 1) / 2).clamp(0, 1).double() * (high - low) + low
            if self.alpha is not None:
                part = torch.cat([part, self.alpha[:, band].detach().cpu().clamp(0, 1).double() * white])
            values[band] = part.round().permute(1, 2, 0).numpy()
        return values


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Converts all exceptions within the context to a UserError that names the file."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path}: {_reason(error, path)}") from None


def open_image(path: str | Path, max_pixels: int = 80_000_000, channels: int | None = None) -> ImageFile:
    """Opens an image file and reads its header, without decoding pixels.

    Args:
        path: A file in any format of `genmods.data.formats`.
        max_pixels: The largest number of pixels allowed.
        channels: The expected number of channels; that many pages of a TIFF file are its channels.

    Raises:
        UserError: If the file is not an image or too large; the message names it.
    """
    path = Path(path)
    with naming(path):
        file = _opened(path, channels)
    height, width = file.size
    if width * height > max_pixels:
        raise UserError(f"{path}: must have at most {max_pixels:,} pixels, got {width} x {height}")
    return file


def _opened(path: Path, channels: int | None) -> ImageFile:
    if path.exists() and not path.is_file():  # opening a pipe would wait
        raise UserError(f"{path}: is not a regular file")
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz"):
        return ArrayFile(path, channels)
    if suffix in HEIC or _is_heic(path):
        if find_spec("pillow_heif") is None:
            raise ValueError("is a HEIC file, which requires pillow-heif: pip install 'genmods[heic]'")
        import pillow_heif

        pillow_heif.register_heif_opener()
    return open_pillow(path, channels)


def _is_heic(path: Path) -> bool:
    """Whether a file begins as HEIC does, whatever its suffix (ISO 14496-12, 4.3)."""
    with path.open("rb") as file:
        begin = file.read(12)
    return begin[4:8] == b"ftyp" and begin[8:] in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"msf1")


def read_image(path: str | Path, value_range: Range | None = None) -> Picture:
    """Reads an image file (PNG, JPEG, WebP, TIFF, NPY, ...) with its bit depth and alpha; palette and CMYK become RGB.

    Args:
        path: The file.
        value_range: The values of black and white in files of more than 8 bits; None for 0 and the white of its depth.

    Raises:
        UserError: If the file is broken; the message names it.
    """
    with quiet_decoders(), naming(path):
        raster = open_image(path).read()
        low, high = ends = Preparation(range=value_range, levels=65536).ends(raster)
        values = raster.values[:, :, : raster.color or None].transpose(2, 0, 1)
        image = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).sub_(low).div_(high - low)
        alpha = None
        if raster.alpha is not None and raster.white is not None:
            alpha = torch.from_numpy(np.ascontiguousarray(raster.alpha[None], dtype=np.float32)) / raster.white
    bits = 8 if raster.values.dtype == np.uint8 else 16
    own = ends if raster.white is not None and ends != (0, raster.white) else None  # 12 bits are written as 16
    return Picture(image.mul_(2).sub_(1), alpha, bits, raster.icc, own, read_exif(path))


def write_image(path: str | Path, picture: Picture) -> None:
    """Writes a picture atomically in the format of the suffix, losslessly except for JPEG (quality 95), AVIF, HEIC and
    colours in GIF.

    Raises UserError if the format does not support 16 bits, alpha or the number of channels.
    """
    path = Path(path)
    pixels = picture.stored()
    suffix = path.suffix.lower()
    if len(picture.image) not in (1, 3):
        if suffix not in (".tif", ".tiff"):
            raise UserError(f"{path}: {suffix} does not support {counted(len(picture.image), 'channel')}; use .tif")
        write = png16.write_tiff
    elif picture.bits == 16 and suffix == ".png":
        write = png16.write_png
    elif picture.bits == 16 and suffix in (".tif", ".tiff") and pixels.shape[2] != 2:
        write = png16.write_tiff
    elif picture.bits == 16:
        raise UserError(f"{path}: {suffix} does not support this 16-bit image; use .png")
    elif picture.alpha is not None and suffix in (".jpg", ".jpeg", ".bmp"):
        raise UserError(f"{path}: {suffix} does not support transparency; use .png")
    else:
        write = partial(_write_by_pillow, suffix=suffix)
    try:
        with replacing(path) as staged:
            write(staged, pixels, picture.icc, picture.exif)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the system, not of the format
            raise
        raise UserError(f"{path}: cannot be written: {error}") from None


def _write_by_pillow(path: Path, pixels: np.ndarray, icc: bytes | None, exif: bytes | None, suffix: str) -> None:
    """Write uint8 pixels [H, W, C] in the format of `suffix`."""
    settings: dict[str, dict] = {
        ".png": {"compress_level": 3},  # half the time of 6, and a few per cent larger
        ".webp": {"lossless": True, "exact": True},
        ".jpg": {"quality": 95},
        ".jpeg": {"quality": 95},
    }
    whole = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
    more: dict[str, Any] = settings.get(suffix, {}) | ({} if exif is None else {"exif": exif})
    whole.save(path, Image.registered_extensions().get(suffix), icc_profile=icc, **more)


def _reason(error: Exception, path: str | Path) -> str:
    """The error as text after the file name."""
    if is_pointer(path):
        return ADVICE
    if isinstance(error, UnidentifiedImageError):
        is_empty = os.path.isfile(path) and os.path.getsize(path) == 0  # others are in archives
        return "is empty" if is_empty else "is not an image"
    if isinstance(error, Image.DecompressionBombError):
        return "has too many pixels"
    if "imagecodecs" in str(error) and "genmods" not in str(error):  # of tifffile
        return "requires imagecodecs for its compression or bit depth: pip install 'genmods[deep]'"
    if str(error).startswith(("decoder error", "Unable to seek")):
        return f"is broken ({str(error)[0].lower()}{str(error)[1:]})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    return first_line(error)
