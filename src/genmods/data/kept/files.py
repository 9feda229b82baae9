"""What is known of image files: their content's hash and their header, in a table of the cache.

An entry applies as long as size, times and inode of the file are those of the entry. A file that was changed less than
two seconds before it was examined could change again without a new time; it has no entry, and is hashed each time.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from genmods.core.atomic import replacing
from genmods.data.files import naming, open_image
from genmods.data.kept.folder import ImageCache, load_arrays
from genmods.data.preparation import Preparation

_YOUNG = 2_000_000_000  # ns
_DIGEST = 16
_UNKNOWN = float("nan")
_FORMAT = 2
"""Changes when the same file has another header."""
Stamp = tuple[int, int, int, int]
"""Size, modification time, inode and time of the last change of its status."""


class Header(NamedTuple):
    """What is known of a file before decoding; `least` and `most` for values without a defined white."""

    size: tuple[int, int]
    channels: int
    color: int
    white: float | None
    whole: bool
    pages: int
    least: float = 0.0
    most: float = 0.0

    def numbers(self) -> list[float]:
        """The header as nine numbers."""
        white = _UNKNOWN if self.white is None else self.white
        return [*self.size, self.channels, self.color, white, self.whole, self.pages, self.least, self.most]

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Header:
        """The header of nine numbers."""
        height, width, channels, color, white, whole, pages, least, most = numbers
        size, known = (int(height), int(width)), None if math.isnan(white) else white
        return cls(size, int(channels), int(color), known, bool(whole), int(pages), least, most)


class Examined(NamedTuple):
    """A file: its state, the hash of its content, its header, and whether it was changed just before."""

    stamp: Stamp
    digest: bytes
    header: Header
    is_young: bool = False


def stamp(path: Path) -> Stamp:
    """The state of a file, which changes when the file does."""
    state = os.stat(path)
    return state.st_size, state.st_mtime_ns, state.st_ino & (2**63 - 1), state.st_ctime_ns


def examine(path: Path, wish: Preparation) -> Examined:
    """Reads the header of a file and hashes its content; raises UserError if it is not an image."""
    with naming(path):
        state = stamp(path)
        young = _is_young(state)
        header = _header(path, wish)
        with path.open("rb") as file:
            return Examined(state, hashlib.file_digest(file, _hash).digest(), header, young)


def _hash() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=_DIGEST)


def _header(path: Path, wish: Preparation) -> Header:
    with naming(path):
        file = open_image(path, wish.max_pixels, wish.channels)
        channels = file.channels + (file.alpha and file.channels + 1 == wish.channels)
        found = Header(file.size, channels, file.color, file.white, file.whole, file.pages)
        if file.white is None and wish.range is None:
            values = file.read().values
            if not np.isfinite(values).all():
                raise ValueError("has values that are not finite")
            found = found._replace(least=float(values.min()), most=float(values.max()))
        return found


class FileTable:
    """The known files among `paths`, which are read for the preparation `wish`."""

    def __init__(self, cache: ImageCache, paths: list[Path], wish: Preparation) -> None:
        self._cache, self._most = cache, wish.max_pixels
        self._names = {path: os.path.abspath(path) for path in paths}
        common = os.path.commonpath(map(os.path.dirname, self._names.values())) if paths else ""
        digest = hashlib.blake2b(
            repr((_FORMAT, common, wish.channels, wish.range is None)).encode(), digest_size=_DIGEST
        )
        self._path = cache.folder / "files" / f"{digest.hexdigest()}.npz"
        self._entries = self._read()

    def _read(self) -> dict[str, Examined]:
        if (found := load_arrays(self._path)) is None:
            return {}
        names = map(os.fsdecode, found["names"].tobytes().split(b"\0"))
        columns = (found["stamps"].tolist(), found["digests"], found["headers"].tolist())
        return {
            name: Examined(tuple(state), digest.tobytes(), Header.of(header))
            for name, state, digest, header in zip(names, *columns, strict=True)
        }

    def find(self, path: Path) -> Examined | None:
        """The entry of a file that did not change since, or None."""
        entry = self._entries.get(self._names[path])
        if entry is None or math.prod(entry.header.size) > self._most:
            return None
        try:
            return entry if stamp(path) == entry.stamp and not _is_young(entry.stamp) else None
        except OSError:
            return None

    def keep(self, files: Mapping[Path, Examined]) -> None:
        """Replaces the table by `files`, unless it has these entries already."""
        entries = {self._names[path]: one for path, one in files.items() if not one.is_young}
        if not entries or entries == self._entries:
            return
        ones = entries.values()
        with self._cache.writing(), replacing(self._path) as staged, staged.open("wb") as file:
            np.savez(
                file,
                names=np.frombuffer(b"\0".join(map(os.fsencode, entries)), np.uint8),
                stamps=np.array([one.stamp for one in ones], np.int64),
                digests=np.frombuffer(b"".join(one.digest for one in ones), np.uint8).reshape(-1, _DIGEST),
                headers=np.array([one.header.numbers() for one in ones]),
            )


def _is_young(state: Stamp) -> bool:
    return time.time_ns() - state[1] < _YOUNG
