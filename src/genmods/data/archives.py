"""Tar archives of samples in the layout of webdataset: the files of a sample have one name up to its first dot."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from genmods.core.atomic import replacing
from genmods.core.errors import UserError, nearest
from genmods.core.positioned import read_at
from genmods.data.folder.cells import written
from genmods.data.kept.files import stamp
from genmods.data.kept.folder import ImageCache, load_arrays
from genmods.data.walk import suffixes


class Shard(NamedTuple):
    """An archive: the name, position, size and label (as text) of each sample's image."""

    path: Path
    names: list[str]
    positions: np.ndarray
    sizes: np.ndarray
    labels: list[str]


class Archives:
    """The images of several archives, read at random from their positions."""

    def __init__(self, shards: list[Shard]) -> None:
        self.shards = shards
        self._starts = np.cumsum([0, *(len(shard.names) for shard in shards)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def _find(self, number: int) -> tuple[Shard, int]:
        shard = int(np.searchsorted(self._starts, number, side="right")) - 1
        return self.shards[shard], number - int(self._starts[shard])

    def name(self, number: int) -> str:
        """The archive and the name of an image in it."""
        shard, place = self._find(number)
        return f"{shard.path.name}/{shard.names[place]}"

    def read(self, number: int) -> bytes:
        """The content of an image file."""
        shard, place = self._find(number)
        content = bytearray(int(shard.sizes[place]))
        with shard.path.open("rb", buffering=0) as file:
            read_at(file, content, int(shard.positions[place]))
        return bytes(content)

    @property
    def labels(self) -> list[str] | None:
        """The label of each image as text; None if there are no labels."""
        found = [label for shard in self.shards for label in shard.labels]
        if not any(found):
            return None
        if "" in found:
            raise UserError(f"{self.name(found.index(''))}: has no label")
        return found

    @property
    def identity(self) -> str:
        """A hash of the names, sizes and labels of all images."""
        digest = hashlib.blake2b(digest_size=16)
        for shard in self.shards:
            digest.update(json.dumps([shard.names, shard.sizes.tolist(), shard.labels]).encode())
        return digest.hexdigest()


def read_shard(path: Path, label: str, cache: ImageCache) -> Shard:
    """The contents of an archive, from the cache if it did not change.

    Args:
        path: The archive.
        label: The suffix of the files of labels, such as `cls`, or `json.KEY`.
        cache: The cache.

    Raises:
        UserError: If it cannot be read, or a sample has several images or no readable label.
    """
    key = repr((os.path.abspath(path), stamp(path), label, sorted(suffixes())))
    kept = cache.folder / "archives" / f"{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}.npz"
    if (found := load_arrays(kept)) is not None:
        return Shard(path, _lines(found["names"]), found["positions"], found["sizes"], _lines(found["labels"]))
    shard = _scanned(path, label)
    with cache.writing(), replacing(kept) as staged, staged.open("wb") as file:
        texts: dict[str, Any] = {"names": _packed(shard.names), "labels": _packed(shard.labels)}
        np.savez(file, positions=shard.positions, sizes=shard.sizes, **texts)
    return shard


def _packed(lines: list[str]) -> np.ndarray:
    return np.array(bytearray("\0".join(lines).encode("utf-8", "surrogateescape")), np.uint8)


def _lines(packed: np.ndarray) -> list[str]:
    return packed.tobytes().decode("utf-8", "surrogateescape").split("\0")


def _scanned(path: Path, label: str) -> Shard:
    suffix, _, field = label.partition(".")
    images: dict[str, tarfile.TarInfo] = {}
    labels: dict[str, str] = {}
    others: set[str] = set()
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                key, kind = _sample(member.name)
                if not member.isreg() or key.rpartition("/")[2] == "":
                    continue
                if f".{kind.rpartition('.')[2]}" in suffixes():
                    if key in images:
                        raise UserError(f"{path}/{member.name}: the sample has two images, {images[key].name} too")
                    images[key] = member
                elif kind == suffix and key in labels:
                    raise UserError(f"{path}/{member.name}: the sample has two labels")
                elif kind == suffix:
                    content: Any = tar.extractfile(member)
                    labels[key] = _label(content.read(), field, f"{path}/{member.name}")
                else:
                    others.add(kind)
            _check_end(path, tar.offset)
    except tarfile.TarError as error:
        with path.open("rb") as file:
            compressed = file.read(4).startswith((b"\x1f\x8b", b"BZh", b"\xfd7zX", b"\x28\xb5\x2f\xfd"))
        reason = "is compressed; unpack it to a plain tar archive" if compressed else f"cannot be read ({error})"
        raise UserError(f"{path}: {reason}") from None
    if not images:
        raise UserError(f"{path}: contains no images")
    if not labels and (longer := next((kind for kind in others if kind.endswith(f".{suffix}")), None)):
        raise UserError(f"{path}: names must have one dot, before .{suffix}, got .{longer}")
    if not labels and suffix not in ("cls", "") and suffix not in others:
        raise UserError(f"data.label: {path} has no files .{suffix}{nearest(suffix, others)}")
    members = list(images.values())
    numbers = np.array([[member.offset_data, member.size] for member in members], np.int64)
    named = [labels.get(key, "") for key in images]
    return Shard(path, [member.name for member in members], numbers[:, 0], numbers[:, 1], named)


def _check_end(path: Path, position: int) -> None:
    """Raises UserError if there is no block of zeros at the end of an archive, which tarfile does not require."""
    with path.open("rb") as file:
        file.seek(position)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise UserError(f"{path}: has no end, it may be truncated")


def _sample(name: str) -> tuple[str, str]:
    """The name of a sample and the suffix of one of its files, in lower case: a/b.cls -> a/b, cls."""
    folder, slash, file = name.rpartition("/")
    key, _, kind = file.partition(".")
    return f"{folder}{slash}{key}", kind.lower()


def _label(content: bytes, field: str, name: str) -> str:
    try:
        text = content.decode().strip()
        if not field:
            return text.replace("\0", "")
        cell = json.loads(text)[field]
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise UserError(f"{name}: is not a readable label") from None
    except (KeyError, TypeError):
        raise UserError(f"{name}: has no {field}") from None
    if isinstance(cell, list | dict):
        raise UserError(f"{name}: {field} must be a class, got {cell}")
    return "" if cell is None else written(cell).replace("\0", "")
