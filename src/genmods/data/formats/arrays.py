"""NumPy arrays as images: `.npy`, and `.npz` files with one array."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from genmods.data.formats.raster import Raster, white_of


class ArrayFile:
    """An array [H, W], [H, W, C] or [C, H, W] in a file; see `as_bands`.

    Raises ValueError for another shape, values that are not real numbers, and several arrays.
    """

    alpha, pages = False, 1

    def __init__(self, path: Path, channels: int | None = None) -> None:
        if path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as stored:
                if len(stored.files) != 1:
                    raise ValueError(f"must contain one array, got {len(stored.files)} ({', '.join(stored.files)})")
                array = stored[stored.files[0]]
        else:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        self._array = as_bands(array, channels)
        if self._array.dtype.kind not in "buif":
            raise ValueError(f"must contain real numbers, got {self._array.dtype}")
        height, width, self.channels = self._array.shape
        self.size = (height, width)
        self.color = self.channels if self.channels in (1, 3) else 0
        self.white = white_of(self._array.dtype)
        self.whole = self._array.dtype.kind != "f"

    def read(self, least: tuple[int, int] | None = None) -> Raster:
        values = np.ascontiguousarray(self._array)
        return Raster(values.astype(np.uint8) if values.dtype == bool else values, self.white, color=self.color)


def as_bands(array: np.ndarray, channels: int | None = None) -> np.ndarray:
    """An array [H, W], [H, W, C] or [C, H, W] as [H, W, C]; C is that of the first and the last axis with `channels`
    entries, otherwise the shorter one. Raises ValueError for another shape."""
    if array.ndim == 2:
        array = array[:, :, None]
    elif array.ndim == 3:
        first, _, last = array.shape
        if (first == channels) if (first == channels) != (last == channels) else first < last:
            array = array.transpose(1, 2, 0)
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(f"an image array must have shape [H, W], [H, W, C] or [C, H, W], got {list(array.shape)}")
    return array
