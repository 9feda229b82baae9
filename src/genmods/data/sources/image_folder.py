"""A folder of a user's own images, as people have them: any sizes, modes and formats, class folders or none."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch

from genmods.core.errors import UserError
from genmods.core.printable import printable
from genmods.data.decoding import decode_files
from genmods.data.images import Images, Source
from genmods.data.walk import walk

_log = logging.getLogger(__name__)
_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}

Files = dict[str, list[tuple[Path, int]]]


@dataclass
class ImageFolder(Source):
    """The images below `root`, brought to ImageData's `image_size` where that is set (shorter side, centre crop).

    Subfolders are classes, named by folder and with images at any depth below; without subfolders, or with
    `labels: false`, there are no labels. Subfolders called train, val (or valid, validation) and test are splits.
    Hidden names and files not named like images are left out. `channels` is 1 (grey), 3 (RGB) or, left open, 1 where
    all images are grey. Transparent pixels show `background`; 16-bit values are rounded to 8 bits; of an animation the
    first frame counts. `on_error` says what happens when files are broken or have more than `max_pixels`: "stop" names
    each and raises UserError, "skip" trains on the rest, and names and counts them; `broken` lists them.
    """

    root: str = "images"
    labels: bool = True
    channels: int | None = None
    background: Literal["white", "black"] = "white"
    on_error: Literal["stop", "skip"] = "stop"
    max_pixels: int = 80_000_000

    def __post_init__(self) -> None:
        if self.channels not in (None, 1, 3):
            raise ValueError(f"channels must be 1 or 3, or left open, not {self.channels}")
        if self.max_pixels < 1:
            raise ValueError(f"max_pixels must be at least 1, not {self.max_pixels}")
        for name, allowed in (("background", ("white", "black")), ("on_error", ("stop", "skip"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be {' or '.join(allowed)}, not {getattr(self, name)!r}")
        self.broken: list[str] = []

    @property
    def class_names(self) -> list[str]:
        return self._layout[1]

    def read(self) -> dict[str, Images]:
        return self.read_at(None)

    def read_at(self, image_size: int | None) -> dict[str, Images]:
        files, names = self._layout
        paths = [path for members in files.values() for path, _ in members]
        pixels, good, self.broken = decode_files(paths, image_size, self.channels, self.background, self.max_pixels)
        self._tell_broken(len(paths))
        labels = torch.tensor([label for members in files.values() for _, label in members])
        everything = Images(pixels, labels if names else None, self._relative(paths))
        places = torch.arange(len(paths)).split([len(members) for members in files.values()])
        splits = {name: everything.select(part[good[part]]) for name, part in zip(files, places, strict=True)}
        _tell_balance(splits["train"], names)
        return splits

    @cached_property
    def _layout(self) -> tuple[Files, list[str]]:
        """(path, label) of each file by split, label -1 where there are none; the names of the classes."""
        root = Path(self.root).expanduser()
        if not root.is_dir():
            raise UserError(f"data.root: there is no folder {root}")
        named = {_SPLITS[p.name.lower()]: p for p in sorted(root.iterdir()) if p.name.lower() in _SPLITS and p.is_dir()}
        folders = named if "train" in named else {"train": root}
        parts = {split: [(path, path.relative_to(top).parts) for path in walk(top)] for split, top in folders.items()}
        if not parts["train"]:
            raise UserError(f"data.root: there are no images in {folders['train']}")
        everything = [member for members in parts.values() for member in members]
        loose = [path for path, below in everything if len(below) == 1]
        if not self.labels or len(loose) == len(everything):
            return {split: [(path, -1) for path, _ in members] for split, members in parts.items()}, []
        if loose:
            raise UserError(f"{loose[0]}: lies beside class folders; labels: false takes all without labels")
        names = sorted({below[0] for _, below in parts["train"]})
        for path, below in everything:
            if below[0] not in names:
                raise UserError(f"{path}: there is no class {below[0]!r} among the training images")
        return {split: [(path, names.index(below[0])) for path, below in m] for split, m in parts.items()}, names

    def _relative(self, paths: list[Path]) -> list[str]:
        root = Path(self.root).expanduser()
        return [path.relative_to(root).as_posix() for path in paths]

    def _tell_broken(self, total: int) -> None:
        if not self.broken:
            return
        if self.on_error == "stop":
            raise UserError(
                f"{len(self.broken):,} of {total:,} images are broken; data.on_error: skip would leave them out:",
                *self.broken,
            )
        listed = "\n  ".join(map(printable, self.broken))
        _log.warning("left out %d of %d images, which are broken:\n  %s", len(self.broken), total, listed)


def _tell_balance(images: Images, names: list[str]) -> None:
    """Warn of classes without images, and of a largest class of more than three times the smallest."""
    if images.labels is None:
        return
    counts = images.labels.bincount(minlength=len(names)).tolist()
    if max(counts) > 3 * min(counts):
        listed = ", ".join(f"{printable(name)} {count:,}" for name, count in zip(names, counts, strict=True))
        _log.warning("the classes are unbalanced: %s", listed)
