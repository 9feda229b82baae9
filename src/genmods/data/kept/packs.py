"""Packs: the pixels of image files after one preparation, in a file that later runs read instead of decoding.

A pack is PREPARATION/NAME.npy with images [N, C, H, W], and NAME.npz with the hash of each file's content, its row in
the pack, the checksum of that row, and its smallest and largest value. A pack is written once. Images that another
pack has are copied; packs that a new one contains are removed.
"""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from contextlib import ExitStack, suppress
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from genmods.core.atomic import replacing
from genmods.core.errors import UserError
from genmods.core.locking import remove_leftovers
from genmods.core.positioned import reserve, write_at
from genmods.data.kept.folder import ImageCache, load_arrays
from genmods.data.kept.pixels import StoredPixels
from genmods.data.locations import alone
from genmods.data.preparation import Range

Decode = Callable[[bytes, np.ndarray], tuple[Range, bool]]
"""(the hash of a file's content, an array [C, H, W] that receives its pixels) -> the smallest and largest value of the
file, and whether it is still the file that was hashed; raises UserError if it is broken."""
Track = Callable[[Iterable[Any], int, str], list[Any]]
"""(results, their number, what is done with the images) -> all results, with a progress bar."""
_CHUNK = 1 << 23
_HASH = 16


class Row(NamedTuple):
    """A row of a pack: its number, its checksum, and the smallest and largest value of the file."""

    number: int
    checksum: int
    span: Range


class Pack(NamedTuple):
    """The images of a pack, and their rows by the hash of the file's content."""

    pixels: StoredPixels
    rows: Mapping[bytes, Row]


class _Image(NamedTuple):
    """The pixels of a file, its smallest and largest value, and whether it is still the file that was hashed."""

    pixels: np.ndarray
    span: Range
    is_current: bool


class Packs:
    """The packs with images of one preparation.

    Args:
        cache: The cache.
        key: The name of the preparation.
        shape: Shape [C, H, W] of an image.
        dtype: uint8 or uint16.
        pool: Threads that verify, copy and decode.
        track: Shows the progress.
    """

    def __init__(
        self, cache: ImageCache, key: str, shape: tuple[int, ...], dtype: Any, pool: Executor, track: Track
    ) -> None:
        self._cache, self._folder = cache, cache.folder / key
        self._shape, self._dtype = shape, np.dtype(dtype)
        self._size = math.prod(shape) * self._dtype.itemsize
        self._pool, self._track = pool, track

    def get(self, wanted: list[bytes], decode: Decode) -> Pack:
        """A pack with the images of `wanted`, hashes of files that are all different, without those of broken files."""
        name = hashlib.blake2b(b"".join(wanted), digest_size=_HASH).hexdigest()
        packs = self._found(wanted)
        with ExitStack() as stack:
            if packs and not _missing(wanted, packs[:1]):
                return packs[0]
            with self._cache.writing():
                stack.enter_context(alone(self._folder, name))
                packs = self._found(wanted)  # another run may have written it meanwhile
            images: dict[bytes, Callable[[], _Image]] = {
                digest: partial(_copied, pack, row) for pack in packs for digest, row in pack.rows.items()
            }
            if len(packs) == 1:
                first = next(filter(None, (self._tried(one, decode) for one in _missing(wanted, packs))), None)
                if first is None:  # all others are broken
                    return packs[0]
                images |= first
            images |= {digest: partial(self._decoded, digest, decode) for digest in wanted if digest not in images}
            return self._made(self._folder / f"{name}.npy", {digest: images[digest] for digest in wanted})

    def _decoded(self, digest: bytes, decode: Decode) -> _Image:
        pixels = np.empty(self._shape, self._dtype)
        return _Image(pixels, *decode(digest, pixels))

    def _tried(self, digest: bytes, decode: Decode) -> dict[bytes, Callable[[], _Image]] | None:
        """The image of a file by its hash; None if it is broken."""
        try:
            image = self._decoded(digest, decode)
        except UserError:
            return None
        return {digest: lambda: image}

    def _found(self, wanted: list[bytes]) -> list[Pack]:
        """The packs with images of `wanted` whose checksums are right, the one with most of them first."""
        needed = set(wanted)
        packs = [pack for path in self._indices() if (pack := self._opened(path))]
        packs.sort(key=lambda pack: -len(needed & pack.rows.keys()))
        found = []
        for pack in packs:
            if rows := self._verified(pack, needed & pack.rows.keys()):
                found.append(pack._replace(rows=rows))
                needed -= rows.keys()
        return found

    def _indices(self) -> list[Path]:
        try:
            return sorted(self._folder.glob("*.npz"))
        except OSError:  # the cache of another user
            return []

    def _opened(self, index: Path) -> Pack | None:
        if (found := load_arrays(index)) is None:
            return None
        try:
            file = index.with_suffix(".npy").open("rb", buffering=0)
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            digests = (digest.tobytes() for digest in found["digests"])
            columns = (found["rows"].tolist(), found["checksums"].tolist(), map(tuple, found["spans"].tolist()))
            rows = dict(zip(digests, map(Row, *columns), strict=True))
        except (OSError, ValueError, KeyError):
            return None
        if shape[1:] != self._shape or dtype != self._dtype:
            return None
        return Pack(StoredPixels(file, file.tell(), shape[1:], dtype, np.arange(shape[0])), rows)

    def _verified(self, pack: Pack, digests: Iterable[bytes]) -> dict[bytes, Row]:
        """The rows of `digests` whose images have their checksums."""
        items = sorted(((digest, pack.rows[digest]) for digest in digests), key=lambda item: item[1].number)
        step = max(1, _CHUNK // self._size)

        def verified(first: int) -> list[tuple[bytes, Row]]:
            part = items[first : first + step]
            try:
                images = pack.pixels.array(np.array([row.number for _, row in part]))
            except OSError:  # truncated
                return []
            return [item for item, image in zip(part, images, strict=True) if zlib.crc32(image) == item[1].checksum]

        parts = self._pool.map(verified, range(0, len(items), step))
        return dict(item for part in parts for item in part)

    def _made(self, path: Path, images: Mapping[bytes, Callable[[], _Image]]) -> Pack:
        """A new pack with these images, in a temporary file if the cache cannot be written."""
        made: Pack | None = None
        with self._cache.writing():
            remove_leftovers(self._folder)
            with replacing(path) as staged:
                made, kept = self._filled(staged.open("w+b", buffering=0), images)
            if kept:
                _write_index(path.with_suffix(".npz"), kept)
                self._remove_contained(path, kept)
            else:
                path.unlink(missing_ok=True)
        return made or self._filled(_temporary(len(images) * self._size), images)[0]

    def _filled(self, file: FileIO, images: Mapping[bytes, Callable[[], _Image]]) -> tuple[Pack, dict[bytes, Row]]:
        """Fills a file with images by the hash of their files.

        Returns the pack, and those of its rows to keep: of files that did not change while they were read.
        """
        count = max(1, len(images))  # an array without rows has no row for broken files
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": (count, *self._shape)}
        np.lib.format.write_array_header_1_0(file, header)
        offset = file.tell()
        reserve(file, offset + count * self._size)

        def fill(number: int, get: Callable[[], _Image]) -> tuple[Row, bool] | None:
            try:
                image = get()
            except UserError:
                return None
            write_at(file, image.pixels, offset + number * self._size)
            return Row(number, zlib.crc32(image.pixels.data), image.span), image.is_current

        results = self._track(self._pool.map(fill, range(len(images)), images.values()), len(images), "reading")
        good = {digest: one for digest, one in zip(images, results, strict=True) if one}
        pixels = StoredPixels(file, offset, self._shape, self._dtype, np.arange(count))
        pack = Pack(pixels, {digest: row for digest, (row, _) in good.items()})
        return pack, {digest: row for digest, (row, is_current) in good.items() if is_current}

    def _remove_contained(self, path: Path, kept: Mapping[bytes, Row]) -> None:
        """Removes the other packs whose images are all in the pack `path` with the rows `kept`."""
        for index in self._indices():
            other = self._opened(index) if index.stem != path.stem else None
            if other and other.rows.keys() <= kept.keys():
                index.unlink(missing_ok=True)
                index.with_suffix(".npy").unlink(missing_ok=True)


def _missing(wanted: list[bytes], packs: list[Pack]) -> list[bytes]:
    return [digest for digest in wanted if not any(digest in pack.rows for pack in packs)]


def _copied(pack: Pack, row: Row) -> _Image:
    return _Image(pack.pixels.array(np.array([row.number]))[0], row.span, True)


def _write_index(path: Path, rows: Mapping[bytes, Row]) -> None:
    with replacing(path) as staged, staged.open("wb") as file:
        np.savez(
            file,
            digests=np.frombuffer(b"".join(rows), np.uint8).reshape(-1, _HASH),
            rows=np.array([row.number for row in rows.values()], np.int64),
            checksums=np.array([row.checksum for row in rows.values()], np.uint32),
            spans=np.array([row.span for row in rows.values()], np.float64).reshape(-1, 2),
        )


def _temporary(size: int) -> FileIO:
    """A temporary file of `size` bytes without a name: on disk, or in memory if the disk is full."""
    with suppress(OSError):
        file: Any = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        reserve(file, size)
        return file
    return os.fdopen(os.memfd_create("pixels"), "w+b", buffering=0)
