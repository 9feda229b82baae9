"""TIFF of any bit depth and number of channels, read by tifffile where Pillow would lose bits, misread or refuse it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from genmods.data.formats.arrays import as_bands
from genmods.data.formats.raster import Raster, opaque, white_of

_MINISWHITE, _MINISBLACK, _RGB, _PALETTE, _SEPARATED = 0, 1, 2, 3, 5  # PhotometricInterpretation, TIFF 6.0
_ASSOCIATED, _UNASSOCIATED = 1, 2  # ExtraSamples
_PROFILE = 34675


class TiffFile:
    """The first page of a TIFF file; of a file with single-channel pages, the first `channels` pages as channels.

    Raises ValueError for unsupported colour spaces.
    """

    def __init__(self, path: Path, channels: int | None = None) -> None:
        import tifffile

        self.path, self.stacked = path, False
        with tifffile.TiffFile(path) as file:
            page: Any = file.pages.first
            self.pages = len(file.pages)
            shape = file.series[0].shape if file.series else page.shape
            samples, photometric = page.samplesperpixel, int(page.photometric)
            if page.dtype is None or page.dtype.kind not in "buif":
                raise ValueError("must contain real numbers")
            if photometric not in (_MINISWHITE, _MINISBLACK, _RGB, _PALETTE, _SEPARATED):
                raise ValueError(f"has the unsupported colour space {page.photometric.name}")
            if samples == 1 and self.pages > 1 and len(shape) == 3 and self.pages == shape[0]:
                # an array [H, W, C] that was written as H pages, or as many pages as the requested channels
                self.stacked = channels == self.pages or shape[2] < min(shape[:2])
            height, width = page.imagelength, page.imagewidth
            if self.stacked:
                height, width, samples = as_bands(np.broadcast_to(np.uint8(0), shape)).shape
                self.pages = 1
            orientation = page.tags.get(274)
            self.orientation = orientation.value if orientation and isinstance(orientation.value, int) else 1
            self.size = (width, height) if self.orientation > 4 else (height, width)
            self.color = 3 if photometric in (_RGB, _PALETTE, _SEPARATED) else 1 if samples == 1 else 0
            self.white = white_of(page.dtype, None if page.dtype.kind == "b" else page.bitspersample)
            self.whole = page.dtype.kind != "f"
            base = {_RGB: 3, _SEPARATED: 4}.get(photometric, 1)
            kinds = [int(kind) for kind in page.extrasamples] if not self.stacked else []
            opacity = [i for i, kind in enumerate(kinds, start=base) if kind in (_ASSOCIATED, _UNASSOCIATED)]
            self._opacity = opacity[0] if opacity and self.white is not None else None
            if samples == 2 and opacity:
                self.color = 1
            self.alpha = self._opacity is not None
            self.channels = samples - self.alpha
            if photometric in (_PALETTE, _SEPARATED):
                self.channels = 3
            self._photometric, self._premultiplied = photometric, _ASSOCIATED in kinds
            self.icc = page.tags[_PROFILE].value if _PROFILE in page.tags else None

    def read(self, least: tuple[int, int] | None = None) -> Raster:
        import tifffile

        with tifffile.TiffFile(self.path) as file:
            page: Any = file.pages.first
            values = np.asarray(file.series[0].asarray() if self.stacked else page.asarray())
            colormap = page.colormap
            separate = page.samplesperpixel > 1 and page.axes.startswith("S")
        values = as_bands(values) if self.stacked else values.transpose(1, 2, 0) if separate else values
        values = values[:, :, None] if values.ndim == 2 else values
        if values.ndim != 3:
            raise ValueError(f"is a volume of {list(values.shape)}, not an image")
        return self._raster(values, colormap).turned(self.orientation)

    def _raster(self, values: np.ndarray, colormap: np.ndarray | None) -> Raster:
        white, alpha = self.white, None
        if self._opacity is not None and white is not None:
            alpha = values[:, :, self._opacity]
            values = np.delete(values, self._opacity, axis=2)
            values = opaque(values, alpha, white) if self._premultiplied else values
        if self._photometric == _PALETTE and colormap is not None:
            return Raster(painted(values[:, :, 0], colormap), 255.0, alpha, 3, self.icc)
        if values.dtype == bool:
            values = values.astype(np.uint8)
        if self._photometric == _MINISWHITE and white is not None:
            values = (white - values).astype(values.dtype)
        if self._photometric == _SEPARATED and white is not None:
            ink = values[:, :, :4].astype(np.float64) / white
            rgb = (1 - ink[:, :, :3]) * (1 - ink[:, :, 3:])
            return Raster(np.rint(rgb * white).astype(values.dtype), white, alpha, 3)
        return Raster(values, white, alpha, self.color, self.icc)


def painted(indices: np.ndarray, colormap: Any) -> np.ndarray:
    """RGB uint8 [H, W, 3] of indices [H, W] into a TIFF colour map: all reds, then greens, then blues.

    Entries have 16 bits, or 8 in files of some old programs, recognised by a maximum of 255.
    """
    table: Any = np.asarray(colormap, dtype=np.uint16).reshape(3, -1).T
    table = table if table.max() < 256 else (table.astype(np.uint32) + 128) // 257
    return table.astype(np.uint8)[indices]
