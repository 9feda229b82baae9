"""Arrays of NumPy as images: `.npy`, and `.npz` files that hold one array."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from genmods.data.formats.raster import Raster, white_of


class ArrayFile:
    """An array [H, W], [H, W, C] or [C, H, W] in a file; the shorter of the first and the last axis are the channels.

    Raises ValueError for an array of another shape or of no numbers, and for several arrays.
    """

    alpha, pages = False, 1

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as stored:
                if len(stored.files) != 1:
                    raise ValueError(f"holds {len(stored.files)} arrays ({', '.join(stored.files)}), not one")
                array = stored[stored.files[0]]
        else:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        self._array = as_bands(array)
        if self._array.dtype.kind not in "buif":
            raise ValueError(f"holds {self._array.dtype}, not real numbers")
        height, width, self.channels = self._array.shape
        self.size = (height, width)
        self.colour = self.channels if self.channels in (1, 3) else 0
        self.white = white_of(self._array.dtype)
        self.whole = self._array.dtype.kind != "f"

    def read(self, least: tuple[int, int] | None = None) -> Raster:
        values = np.ascontiguousarray(self._array)
        return Raster(values.astype(np.uint8) if values.dtype == bool else values, self.white, colour=self.colour)


def as_bands(array: np.ndarray) -> np.ndarray:
    """An array [H, W], [H, W, C] or [C, H, W] as [H, W, C]; raises ValueError for another one."""
    if array.ndim == 2:
        array = array[:, :, None]
    elif array.ndim == 3 and array.shape[0] < array.shape[2]:
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(f"holds an array {list(array.shape)}; an image is [H, W], [H, W, C] or [C, H, W]")
    return array
