"""Files that Pillow reads without loss, grey ones of 16 bits included, with transparent colours of each bit depth."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from genmods.data import png16
from genmods.data.formats.deep import DeepFile, open_deep
from genmods.data.formats.raster import Raster
from genmods.data.formats.tiff import TiffFile, painted

_BITS, _PHOTOMETRIC, _ORIENTATION, _SAMPLES, _PLANAR, _COLOR_MAP, _EXTRA, _FORMAT = (
    258, 262, 274, 277, 284, 320, 338, 339,
)  # fmt: skip
_DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N")
_TRANSPARENT = ("LA", "La", "PA", "RGBA", "RGBa")


class PillowFile:
    """An image opened by Pillow; the first frame of an animation is read."""

    def __init__(self, path: Path, image: Image.Image) -> None:
        self.path, self._image, self.pages = path, image, 1
        self._tags: Any = getattr(image, "tag_v2", {})
        self._png_depth = png16.png_header(path)[0] if image.format == "PNG" else 8
        orientation = 1 if self._tags else image.getexif().get(_ORIENTATION, 1)  # Pillow rotates TIFF automatically
        self.orientation = orientation if isinstance(orientation, int) else 1
        self.size = (image.width, image.height) if self.orientation > 4 else (image.height, image.width)
        deep = image.mode in _DEEP
        gray = deep or image.mode in ("1", "L", "LA", "La")
        self.alpha = image.mode in _TRANSPARENT or "transparency" in image.info
        self.channels = self.color = 1 if gray else 3
        self.white: float | None = 65535.0 if deep else 255.0
        if deep and self._tags:
            (bits,) = self._tags.get(_BITS, (16,))
            self.white = float(2**bits - 1) if bits <= 16 and self._tags.get(_FORMAT, (1,)) == (1,) else None
        self.whole = image.mode != "F"
        if not self.whole:
            self.white = None
        if self._tags:
            self.pages = _pages(image)

    def read(self, least: tuple[int, int] | None = None) -> Raster:
        image = self._image
        if least is not None:
            height, width = reversed(least) if self.orientation > 4 else least
            image.draft(None, (width, height))  # decodes a JPEG at a fraction of its size if that is sufficient
        image.load()
        icc = None if image.mode in ("CMYK", "LAB") else image.info.get("icc_profile")
        if image.mode in (*_DEEP, "F"):
            values = np.asarray(image)
            if image.mode in _DEEP and self.white is not None:
                values = _unsigned(values)
                values = self.white - values if self._tags.get(_PHOTOMETRIC) == 0 else values
                values = values.astype(np.uint16)
            return Raster(values[:, :, None], self.white, self._hidden(values), 1, icc).turned(self.orientation)
        if image.format == "TIFF" and image.mode == "P":
            colors = painted(np.asarray(image), self._tags[_COLOR_MAP])
            return Raster(colors, 255.0, None, 3, icc).turned(self.orientation)
        if (gray := image.mode in ("1", "L")) and isinstance(image.info.get("transparency"), int):
            values = np.asarray(image.convert("L"))
            return Raster(values[:, :, None], 255.0, self._hidden(values), 1, icc).turned(self.orientation)
        mode = "L" if gray or image.mode in ("LA", "La") else "RGB"
        values = np.asarray(image.convert(mode + ("A" if self.alpha else ""))).reshape(image.height, image.width, -1)
        alpha = values[:, :, -1] if self.alpha else None
        return Raster(values[:, :, : self.channels], 255.0, alpha, self.color, icc).turned(self.orientation)

    def _hidden(self, values: np.ndarray) -> np.ndarray | None:
        """The opacity of grey `values` if one of them is transparent, otherwise None."""
        key = self._image.info.get("transparency")
        if not isinstance(key, int) or self.white is None:
            return None
        if self._image.mode == "1":  # 1 or 255 for white, depending on Pillow's version
            key = 255 * (key > 0)
        elif self._png_depth < 8 and self._image.mode == "L":  # given in the bit depth of the file
            key = key * 255 // (2**self._png_depth - 1)
        return np.where(values == key, 0, self.white).astype(values.dtype)


def open_pillow(path: Path, channels: int | None) -> PillowFile | DeepFile | TiffFile:
    """Opens a file with Pillow, or with another library if Pillow would misread it; raises their exceptions."""
    try:
        image = Image.open(path)
    except Image.UnidentifiedImageError:
        with open(path, "rb") as file:
            magic = file.read(4)
        if magic in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return TiffFile(path, channels)
        raise
    if image.format != "TIFF":
        return open_deep(path, image) or PillowFile(path, image)
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    if not _faithful(image.mode, tags):
        image.close()
        return TiffFile(path, channels)
    if _pages(image) > 1:
        with suppress(Exception):  # a file that tifffile cannot parse has no such pages
            if (several := TiffFile(path, channels)).stacked:
                image.close()
                return several
    if isinstance(turn := tags.get(_ORIENTATION, 1), int) and turn > 4:
        image.close()  # Pillow would memory-map the file with width and height exchanged
        image = Image.open(io.BytesIO(path.read_bytes()))
    return PillowFile(path, image)


def _faithful(mode: str, tags: Any) -> bool:
    """Whether Pillow preserves the contents of a TIFF file with these tags."""
    samples, bits = tags.get(_SAMPLES, 1), tags.get(_BITS, (1,))
    if samples == 1:
        return tags.get(_FORMAT, (1,)) == (1,) and max(bits) <= 16
    extra = tags.get(_EXTRA, ())
    if tags.get(_PLANAR, 1) == 2 and 1 in extra:
        return False
    opacity = any(kind in (1, 2, 999) for kind in extra)
    kept = {"RGB": 3, "YCbCr": 3, "LAB": 3, "P": 1}.get(mode, 4 if mode == "CMYK" else len(mode))
    return max(bits) <= 8 and samples == kept and (mode not in _TRANSPARENT or opacity or mode == "RGBA")


def _pages(image: Any) -> int:
    try:
        return image.n_frames
    except Exception:
        return 1  # the chain of pages is broken after the first


def _unsigned(values: np.ndarray) -> np.ndarray:
    values = values.astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("has values beyond 16 bits")
    return values
