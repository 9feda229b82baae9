"""MNIST and Fashion-MNIST from their four idx files, or downloaded with torchvision."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from genmods.core.errors import UserError
from genmods.core.label_kinds import LabelKind
from genmods.data.idx import read_idx
from genmods.data.images import Images, Source
from genmods.data.locations import candidates, fetch

_PREFIX = {"train": "train", "test": "t10k"}


@dataclass
class MNIST(Source):
    """Handwritten digits, 28 x 28 grey, 60,000 for training and 10,000 for testing.

    `root` is a folder with the four idx files (gzipped or not), or torchvision's download folder; by default
    GENMODS_DATA and well-known folders are searched. With `download`, missing files are downloaded to `root` or
    GENMODS_DATA.
    """

    root: str | None = None
    download: bool = False

    def read(self) -> dict[str, Images]:
        name = type(self).__name__
        folder = next((f for f in self._folders() if _find(f, "train", "images")), None)
        if folder is None and self.download:
            fetch(name, self.root)
            folder = next((f for f in self._folders() if _find(f, "train", "images")), None)
        if folder is None:
            places = ", ".join(str(f) for f in self._folders())
            raise UserError(f"no {name} idx files in {places}: set root, GENMODS_DATA or download: true")
        return {split: _split(folder, split) for split in _PREFIX}

    @property
    def kind_of_labels(self) -> LabelKind:
        return "class"

    @property
    def class_names(self) -> list[str]:
        return [str(digit) for digit in range(10)]

    def _folders(self) -> list[Path]:
        return candidates(self.root, [f"{type(self).__name__}/raw", "mnist"], ["/usr/share/datasets/mnist"])


@dataclass
class FashionMNIST(MNIST):
    """Zalando's garments, 28 x 28 grey, 60,000 for training and 10,000 for testing (Xiao et al. 2017); as MNIST."""

    @property
    def class_names(self) -> list[str]:
        return [
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ]

    def _folders(self) -> list[Path]:
        inside = ["FashionMNIST/raw", "fashion-mnist", "fashion_mnist"]
        return candidates(self.root, inside, ["/usr/share/datasets/fashion-mnist"])


def _find(folder: Path, split: str, what: str) -> Path | None:
    stem = f"{_PREFIX[split]}-{what}-idx{3 if what == 'images' else 1}-ubyte"
    return next((p for p in (folder / stem, folder / f"{stem}.gz") if os.access(p, os.R_OK)), None)


def _split(folder: Path, split: str) -> Images:
    paths = {what: _find(folder, split, what) for what in ("images", "labels")}
    for what, path in paths.items():
        if path is None:
            raise UserError(f"{folder}: no idx file with the {split} {what}")
    pixels, labels = (read_idx(path) for path in paths.values() if path)
    if pixels.ndim != 3 or labels.ndim != 1 or len(pixels) != len(labels):
        raise UserError(f"{paths['images']}: {list(pixels.shape)} images do not fit {list(labels.shape)} labels")
    if labels.max() > 9:
        raise UserError(f"{paths['labels']}: labels must be at most 9, got {int(labels.max())}")
    return Images(pixels[:, None].contiguous(), labels.long())
