"""Files of more than 8 bits per channel that Pillow reduces to 8 bits: PNG, PPM, JPEG 2000, AVIF and HEIC.

Their values are scaled to 16 bits, so that white is 65535 at each depth.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from genmods.data import png16
from genmods.data.formats import netpbm
from genmods.data.formats.raster import Raster

_ORIENTATION = 274
_HEAD = 1 << 20
"""Bytes in which the header of an AVIF file is searched."""
_COLOR_SPACES = {12: "CMYK", 14: "CIELab", 18: "sYCC"}
"""Those of JPEG 2000 that imagecodecs does not convert to RGB (ISO 15444-1, I.5.3.3)."""


class Codec(NamedTuple):
    """A format.

    Attributes:
        bits: Bits per channel of a file that was opened by Pillow; 8 if Pillow reads all of them.
        decode: The pixels uint16 [H, W] or [H, W, C] of a file of that many bits; None if not supported.
        package: What is required to decode them if Pillow cannot.
    """

    bits: Callable[[Path, Image.Image], int]
    decode: Callable[[Path, int], np.ndarray] | None
    package: str | None = None


class DeepFile:
    """An image of more than 8 bits per channel, of which Pillow has read the header."""

    white: float | None = 65535.0
    whole, pages = True, 1

    def __init__(self, path: Path, image: Image.Image, bits: int, decode: Callable[[Path, int], np.ndarray]) -> None:
        self.path, self._bits, self._decode = path, bits, decode
        orientation = image.getexif().get(_ORIENTATION, 1)
        self.orientation = orientation if isinstance(orientation, int) else 1
        self._shape = (image.height, image.width)
        self.size = (image.width, image.height) if self.orientation > 4 else self._shape
        is_gray = png16.png_header(path)[1] if image.format == "PNG" else image.mode in ("L", "LA", "I;16")
        self.channels = self.color = 1 if is_gray else 3
        self._key, self._icc = image.info.get("transparency"), image.info.get("icc_profile")
        self.alpha = image.mode in ("LA", "RGBA", "RGBa") or self._key is not None

    def read(self, least: tuple[int, int] | None = None) -> Raster:
        values = self._decode(self.path, self._bits)
        values = values.reshape(*values.shape[:2], -1)
        if values.shape[:2] != self._shape or values.shape[2] < self.channels:
            raise ValueError(f"is broken (its header is for {self._shape}, its data for {values.shape})")
        color, alpha = values[:, :, : self.channels], None
        if values.shape[2] > self.channels:
            alpha = values[:, :, -1]
        elif self._key is not None:
            alpha = np.where((color == np.array(self._key)).all(-1), 0, 65535).astype(np.uint16)
        return Raster(color, self.white, alpha, self.color, self._icc).turned(self.orientation)


def open_deep(path: Path, image: Image.Image) -> DeepFile | None:
    """A file that was opened by Pillow, if Pillow would lose bits of it; otherwise None.

    Raises:
        ValueError: If its bit depth or colour space is not supported, or requires a package that is not installed.
    """
    codec = _CODECS.get(image.format or "")
    bits = codec.bits(path, image) if codec else 8
    if codec is None or bits <= 8:
        return None
    if bits > 16:
        raise ValueError(f"must have at most 16 bits per channel, got {bits}")
    if codec.package and image.mode != "I;16" and find_spec(codec.package) is None:
        raise ValueError(f"has {bits} bits per channel, which require {codec.package}: pip install 'genmods[deep]'")
    if codec.decode is None:
        raise ValueError(f"has {bits} bits per channel, which are not read from {image.format} files; use PNG or TIFF")
    return DeepFile(path, image, bits, codec.decode)


def _scaled(values: np.ndarray, bits: int) -> np.ndarray:
    """Values of a bit depth as 16 bits."""
    return values if bits == 16 else np.rint(values * (65535 / (2**bits - 1))).astype(np.uint16)


def _bits_of_png(path: Path, image: Image.Image) -> int:
    bits, _ = png16.png_header(path)
    return 8 if image.mode in ("I", "I;16") else bits


def _bits_of_ppm(path: Path, image: Image.Image) -> int:
    return netpbm.white_of_ppm(path).bit_length() if image.mode == "RGB" else 8


def _bits_of_jpeg2000(path: Path, image: Image.Image) -> int:
    """Reads the SIZ marker of the codestream (ISO 15444-1, A.5.1).

    Raises ValueError for more than 8 bits in another colour space than grey and RGB, or with channels that differ.
    """
    content = path.read_bytes()
    start = content.find(b"\xff\x4f\xff\x51")
    if start < 0:
        return 8  # Pillow raises
    width, height, left, top, count = struct.unpack_from(">4I16xH", content, start + 8)
    if len(content) < start + 42 + 3 * count:
        raise ValueError("is truncated")
    parts = {content[start + 42 + 3 * k : start + 45 + 3 * k] for k in range(count)}
    bits = max(((part[0] & 127) + 1 for part in parts), default=8)
    if bits > 8:
        color_space = content[:start].find(b"colr\x01")
        number = int.from_bytes(content[color_space + 7 : color_space + 11]) if color_space >= 0 else 16
        if number in _COLOR_SPACES:
            raise ValueError(f"has the unsupported colour space {_COLOR_SPACES[number]} at {bits} bits per channel")
        if parts != {bytes([bits - 1, 1, 1])}:
            raise ValueError("must have unsigned channels of the same depth and size")
        if (width - left, height - top) != image.size:
            raise ValueError(f"is broken (it has two sizes, {image.size} and {(width - left, height - top)})")
    return bits


def _decode_jpeg2000(path: Path, bits: int) -> np.ndarray:
    with Image.open(path) as image:
        if image.mode == "I;16":  # values in the upper bits
            return _scaled(np.asarray(image) >> (16 - bits), bits)
    import imagecodecs

    return _scaled(imagecodecs.jpeg2k_decode(path.read_bytes()), bits)


def _bits_of_avif(path: Path, image: Image.Image) -> int:
    """The largest of the configurations of AV1 in the header (AV1 in ISOBMFF, 2.3.3)."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    flags = [part[2] for part in head.split(b"av1C")[1:] if len(part) > 2]
    return max((12 if flag & 0x20 else 10 if flag & 0x40 else 8 for flag in flags), default=8)


def _decode_avif(path: Path, bits: int) -> np.ndarray:
    import imagecodecs

    values = imagecodecs.avif_decode(path.read_bytes(), index=0)
    return _scaled(values, 8 if values.dtype == np.uint8 else bits)  # opacity may have more than colour


def _bits_of_heic(path: Path, image: Image.Image) -> int:
    return image.info.get("bit_depth") or 8


def _decode_heic(path: Path, bits: int) -> np.ndarray:
    import pillow_heif

    found: Any = pillow_heif.open_heif(path, convert_hdr_to_8bit=False, hdr_to_16bit=False)
    return _scaled(np.asarray(found), bits)


_CODECS = {
    "PNG": Codec(_bits_of_png, lambda path, bits: png16.read_png(path)),
    "PPM": Codec(_bits_of_ppm, lambda path, bits: netpbm.read_ppm(path)),
    "JPEG2000": Codec(_bits_of_jpeg2000, _decode_jpeg2000, "imagecodecs"),
    "AVIF": Codec(_bits_of_avif, _decode_avif, "imagecodecs"),
    "SGI": Codec(lambda path, image: 8 * path.read_bytes()[3], None),
    "HEIF": Codec(_bits_of_heic, _decode_heic, "pillow_heif"),
}
