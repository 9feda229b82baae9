"""Images in a file, read when they are used, so that they need not fit into memory."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from genmods.core.positioned import read_at
from genmods.data.allocation import allocate
from genmods.data.reading import listed, readers

_CHUNK = 1 << 24


class LazyPixels(ABC):
    """Stored images that are read when they are used, with the part of a tensor's interface that reads batches.

    Attributes:
        shape: [N, C, H, W].
        dtype: torch.uint8 or torch.uint16.
        identity: A text that identifies the content; "" if only the pixels do.
    """

    ndim = 4
    shape: tuple[int, ...]
    dtype: torch.dtype
    identity: str = ""

    @property
    def row_bytes(self) -> int:
        """Bytes of an image."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all images."""
        return len(self) * self.row_bytes

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def __getitem__(self, which: Tensor | slice) -> Tensor:
        """The images at indices int64 [B], or in a slice, as a tensor [B, C, H, W]."""

    @abstractmethod
    def select(self, indices: Tensor | slice) -> LazyPixels:
        """The images at indices int64 [M], in that order; none is read."""

    def split(self, size: int) -> Iterator[Tensor]:
        """Batches [B, C, H, W] of at most `size` images, in order."""
        return (self[first : first + size] for first in range(0, len(self), size))


class StoredPixels(LazyPixels):
    """Images [N, C, H, W] in a file.

    Args:
        file: The file, open for reading; it may be deleted afterwards, as long as it is open.
        offset: Position of the first image, in bytes.
        shape: The shape [C, H, W] of an image.
        dtype: uint8 or uint16.
        rows: Numbers in the file of the N images, int64 [N].
        top: The largest value; larger ones are set to it. None for no limit.
    """

    def __init__(
        self,
        file: BinaryIO,
        offset: int,
        shape: tuple[int, ...],
        dtype: Any,
        rows: np.ndarray,
        top: int | None = None,
    ) -> None:
        self._file, self._offset, self._dtype = file, offset, np.dtype(dtype)
        self._rows, self._top = rows, top
        self.shape = (len(rows), *shape)
        self.dtype = torch.uint8 if self._dtype == np.uint8 else torch.uint16

    def __getitem__(self, which: Tensor | slice) -> Tensor:
        return torch.from_numpy(self.array(which if isinstance(which, slice) else which.numpy()))

    def array(self, which: slice | np.ndarray) -> np.ndarray:
        """The images at indices int64 [B], or in a slice, as an array [B, C, H, W]."""
        rows = self._rows[which]
        images = np.empty((len(rows), *self.shape[1:]), self._dtype)
        starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1).tolist()  # of consecutive rows in the file
        for first, stop in pairwise([*starts, len(rows)]):
            read_at(self._file, images[first:stop], self._offset + int(rows[first]) * self.row_bytes)
        return images if self._top is None else np.minimum(images, self._top, out=images)

    def select(self, indices: Tensor | slice, top: int | None = None) -> StoredPixels:
        """The images at indices int64 [M], in that order, with values of at most `top`; none is read."""
        rows = self._rows[indices if isinstance(indices, slice) else indices.numpy()]
        top = self._top if top is None else top
        return StoredPixels(self._file, self._offset, self.shape[1:], self._dtype, rows, top)

    def __reduce__(self) -> tuple[Any, ...]:
        """For worker processes, which open the file themselves, even if it was deleted."""
        opened = f"/proc/{os.getpid()}/fd/{self._file.fileno()}"
        place = opened if os.path.exists(opened) else str(self._file.name)
        return _reopened, (place, self._offset, self.shape[1:], self._dtype.str, self._rows, self._top)


def _reopened(place: str, *settings: Any) -> StoredPixels:
    return StoredPixels(Path(place).open("rb", buffering=0), *settings)


PixelRows = Tensor | LazyPixels
"""Stored images [N, C, H, W], in memory or read when they are used."""


def in_memory(pixels: PixelRows) -> Tensor:
    """The images as one tensor [N, C, H, W]."""
    if isinstance(pixels, Tensor):
        return pixels
    images = allocate(tuple(pixels.shape), pixels.dtype)
    step = 1 if pixels.identity else max(1, _CHUNK // pixels.row_bytes)  # one by one if they are decoded

    def read(first: int) -> None:
        images[first : first + step] = pixels[first : first + step]

    with readers() as pool:
        listed(pool.map(read, range(0, len(pixels), step)), -(-len(pixels) // step), "reading")
    return images


def chunks(pixels: PixelRows, size: int = _CHUNK) -> Iterator[Tensor]:
    """Batches [B, C, H, W] of about `size` bytes, in order."""
    row = math.prod(pixels.shape[1:]) * pixels.dtype.itemsize
    yield from pixels.split(max(1, size // row))
