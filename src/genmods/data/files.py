"""Image files as tensors and back, in the mode that they have: grey or colour, 8 or 16 bits, with or without alpha.

Values are 2v/(2^bits - 1) - 1 in float32, whose 24-bit mantissa brings 16-bit values back exactly.
"""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from genmods.errors import UserError

SUFFIXES = frozenset(
    [".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm", ".pnm", ".avif", ".jp2"]
)
_DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")


@dataclass
class Picture:
    """One image: `image` float32 [C, H, W] in [-1, 1], C 1 (grey) or 3; `alpha` float32 [1, H, W] in [0, 1] or None;
    `bits` 8 or 16."""

    image: Tensor
    alpha: Tensor | None = None
    bits: int = 8


def open_image(path: str | Path, max_pixels: int = 80_000_000) -> Image.Image:
    """The file as Pillow opens it, not yet decoded; UserError, naming the file, where it is none or too large."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path)
    except UnidentifiedImageError:
        reason = "is empty" if os.path.getsize(path) == 0 else "is not an image"
        raise UserError(f"{path}: {reason}") from None
    except Exception as error:
        raise UserError(f"{path}: {_reason(error)}") from None
    if image.width * image.height > max_pixels:
        raise UserError(f"{path}: has {image.width} x {image.height} pixels, more than {max_pixels:,} in all")
    return image


def decode(image: Image.Image, path: str | Path) -> Image.Image:
    """An opened image decoded (its first frame), upright, and its mode one of L, LA, RGB, RGBA, I;16 (16-bit grey)."""
    try:
        image.load()
        image = ImageOps.exif_transpose(image)
        if image.mode in _DEEP_MODES:
            deep = np.asarray(image).astype(np.int64)
            if deep.min() < 0 or deep.max() > 65535:
                raise ValueError("has values beyond 16 bits")
            return Image.fromarray(deep.astype(np.uint16))
        if image.mode == "F":
            raise ValueError("holds floating-point values, which have no white")
        return image.convert(plain_mode(image))
    except Exception as error:
        raise UserError(f"{path}: {_reason(error)}") from None


def plain_mode(image: Image.Image) -> str:
    """The mode that an image is decoded to: L, LA, RGB, RGBA, or I;16 for 16-bit grey."""
    if image.mode in _DEEP_MODES:
        return "I;16"
    transparent = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    grey = image.mode in ("1", "L", "LA", "La")
    return ("L" if grey else "RGB") + ("A" if transparent else "")


def read_image(path: str | Path) -> Picture:
    """The image in a file (PNG, JPEG, WebP, TIFF ...) with its own bits and alpha; palette and CMYK become RGB.

    Raises UserError, naming the file, where it is broken.
    """
    opened = open_image(path)
    if opened.format == "PNG" and opened.mode not in _DEEP_MODES and _png_depth(path) == 16:
        pixels = _upright(_deep_png(path), opened)
    elif opened.format == "TIFF" and opened.mode in ("RGB", "RGBA") and 16 in opened.tag_v2.get(258, ()):  # type: ignore[attr-defined]
        pixels = _upright(_deep_tiff(path), opened)
    else:
        pixels = np.asarray(decode(opened, path))
    bits = 8 * pixels.dtype.itemsize
    values = torch.from_numpy(pixels.astype(np.float32)).reshape(*pixels.shape[:2], -1).permute(2, 0, 1) / (2**bits - 1)
    channels = 1 if len(values) < 3 else 3
    alpha = values[channels:].contiguous() if len(values) > channels else None
    return Picture(values[:channels].mul(2).sub(1).contiguous(), alpha, bits)


def write_image(path: str | Path, picture: Picture) -> None:
    """Write a picture in the format of the path's suffix, losslessly but for JPEG (quality 95).

    Raises UserError where the format cannot hold 16 bits or alpha.
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
        path.write_bytes(_encode_deep_png(pixels))
        return
    if picture.bits == 16 and suffix in (".tif", ".tiff") and pixels.shape[2] != 2:
        _encode_deep_tiff(path, pixels)
        return
    if picture.bits == 16:
        raise UserError(f"{path}: a {suffix} file cannot hold this 16-bit image, a .png file can")
    if picture.alpha is not None and suffix in (".jpg", ".jpeg", ".bmp"):
        raise UserError(f"{path}: a {suffix} file cannot hold transparency, a .png file can")
    settings: dict[str, dict] = {
        ".webp": {"lossless": True, "exact": True},
        ".jpg": {"quality": 95},
        ".jpeg": {"quality": 95},
    }
    try:
        Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(path, **settings.get(suffix, {}))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be written: {error}") from None


def find_images(paths: Iterable[str | Path]) -> list[Path]:
    """The image files among `paths` and, sorted, in the folders among them at any depth; hidden ones are left out.

    Raises UserError for a path that does not exist and for a folder without images.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = [p for p in walk(path) if not p.is_dir()]
            if not inside:
                raise UserError(f"{path}: there are no images in this folder")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise UserError(f"{path}: there is no such file or folder")
    return found


def walk(folder: Path) -> list[Path]:
    """Everything below `folder` that is named like an image, sorted, hidden names left out.

    Symbolic links are followed, each folder is entered once, and a folder that is named like an image is not entered.
    """
    found: list[Path] = []
    entered: set[str] = set()
    todo = [folder]
    while todo:
        here = todo.pop()
        real = os.path.realpath(here)
        if real in entered:
            continue
        entered.add(real)
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            raise UserError(f"{here}: {_reason(error)}") from None
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if Path(entry.name).suffix.lower() in SUFFIXES:
                found.append(Path(entry.path))
            elif _is_folder(entry):
                todo.append(Path(entry.path))
    return sorted(found)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of symbolic links
        return False


def _reason(error: Exception) -> str:
    """What went wrong, in words that follow the file's name."""
    if isinstance(error, Image.DecompressionBombError):
        return "has too many pixels"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    return (str(error) or type(error).__name__).splitlines()[0]


def _png_depth(path: str | Path) -> int:
    """Bits per channel from the header of a PNG file."""
    with open(path, "rb") as file:
        return file.read(25)[24]


def _deep_png(path: str | Path) -> np.ndarray:
    """uint16 [H, W, C] of a 16-bit PNG file, which Pillow would cut to 8 bits."""
    from torchvision.io import ImageReadMode, decode_png

    try:
        encoded = torch.from_numpy(np.fromfile(path, dtype=np.uint8))
        return decode_png(encoded, ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy()
    except RuntimeError as error:
        raise UserError(f"{path}: {_reason(error)}") from None


def _deep_tiff(path: str | Path) -> np.ndarray:
    """uint16 [H, W, C] of a 16-bit colour TIFF file (its first page), which Pillow would cut to 8 bits."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            separate = page.tags["PlanarConfiguration"].value == tifffile.PLANARCONFIG.SEPARATE
            pixels = page.asarray()
    except Exception as error:
        raise UserError(f"{path}: {_reason(error)}") from None
    return pixels.transpose(1, 2, 0) if separate else pixels


def _upright(pixels: np.ndarray, opened: Image.Image) -> np.ndarray:
    """`pixels` [H, W, C] turned as the orientation that the file `opened` tells (EXIF 2.32, tag 274) asks for."""
    try:
        orientation = opened.getexif().get(274, 1)
    except Exception as error:
        raise UserError(f"{opened.filename}: {_reason(error)}") from None  # type: ignore[attr-defined]
    pixels = np.rot90(pixels, {3: 2, 4: 2, 5: 3, 6: 3, 7: 1, 8: 1}.get(orientation, 0))
    return pixels[:, ::-1] if orientation in (2, 4, 5, 7) else pixels


def _encode_deep_tiff(path: Path, pixels: np.ndarray) -> None:
    """Write uint16 [H, W, C] as a deflated 16-bit TIFF file, grey, colour or colour with alpha."""
    import tifffile

    channels = pixels.shape[2]
    settings: dict[str, Any] = {"photometric": "minisblack"}
    if channels > 1:
        alpha = ["unassalpha"] if channels == 4 else None
        settings = {"photometric": "rgb", "planarconfig": "contig", "extrasamples": alpha}
    pixels = pixels.squeeze(2) if channels == 1 else pixels
    tifffile.imwrite(path, pixels, compression="zlib", metadata=None, **settings)


def _encode_deep_png(pixels: np.ndarray) -> bytes:
    """A 16-bit PNG file of uint16 [H, W, C], rows unfiltered (PNG specification, third edition, sections 5 and 11)."""
    height, width, channels = pixels.shape
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = pixels.astype(">u2").reshape(height, -1).view(np.uint8)
    data = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(data, 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
