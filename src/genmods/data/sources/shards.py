"""Sharded archives in the layout of webdataset, on any mounted disks, read at random without unpacking."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from glob import glob
from pathlib import Path

from genmods.core.errors import UserError
from genmods.data.archives import Archives, read_shard
from genmods.data.encoded import Collection, EncodedSource, by_split
from genmods.data.kept.folder import ImageCache
from genmods.data.reading import listed, readers


@dataclass
class Shards(EncodedSource):
    """Tar archives (shards) of samples such as 0001.jpg, 0001.cls, as webdataset writes them.

    Images are read from the archives by their positions, which are kept in the cache folder, so that order, ranks,
    workers and resumption are those of any other data. The archives must not be compressed. Images of more than 8 bits
    are reduced to 8 bits.

    Args:
        root: A folder of archives; names or folders that begin with train, val or test are splits, by default train.
        train: The training archives in place of `root`: a path or pattern, such as `/data/a-*.tar`, or a list of them,
            on any number of disks.
        val: The archives of the validation split; without them, it is held out from the training images.
        test: Those of the test split, likewise.
        label: The suffix of the file with the class, a number or a name; `json.KEY` reads a key of a JSON file; "" for
            no labels.
        channels: 1 (grey) or 3 (RGB).
        background: The colour of transparent pixels and of the border of `fit: pad`.
        max_pixels: The largest number of pixels of an image.
    """

    root: str = "shards"
    train: str | list[str] | None = None
    val: str | list[str] | None = None
    test: str | list[str] | None = None
    label: str = "cls"

    @cached_property
    def collections(self) -> dict[str, Collection]:
        wanted = {"train": self.train, "val": self.val, "test": self.test}
        given = {split: _archives(split, patterns) for split, patterns in wanted.items() if patterns is not None}
        found = given if "train" in given else by_split(Path(self.root).expanduser(), "*.tar") | given
        cache, paths = ImageCache(), [path for some in found.values() for path in some]
        with readers() as pool:
            shards = listed(pool.map(lambda path: read_shard(path, self.label, cache), paths), len(paths), "indexing")
        of = dict(zip(paths, shards, strict=True))
        every = {split: Archives([of[path] for path in some]) for split, some in found.items()}
        return {split: Collection(one, one.labels, one.identity) for split, one in every.items()}

    @property
    def origin(self) -> str:
        return f"files .{self.label} of the archives" if self.label else "no labels"


def _archives(split: str, patterns: str | list[str]) -> list[Path]:
    paths: list[Path] = []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        text = str(Path(pattern).expanduser())
        some = [Path(text)] if Path(text).is_file() else [Path(path) for path in sorted(glob(text))]
        if not some:
            raise UserError(f"data.{split}: there are no files {text}")
        paths += some
    if repeated := next((path for path in paths if paths.count(path) > 1), None):
        raise UserError(f"data.{split}: {repeated} is listed twice")
    return paths
