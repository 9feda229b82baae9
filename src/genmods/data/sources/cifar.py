"""CIFAR-10 and CIFAR-100, read with torchvision, which verifies checksums."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from genmods.core.errors import UserError
from genmods.core.label_kinds import LabelKind
from genmods.data.images import Images, Source
from genmods.data.locations import candidates, fetch


@dataclass
class CIFAR10(Source):
    """Photographs, 32 x 32 RGB, 50,000 for training and 10,000 for testing, 10 classes (Krizhevsky 2009).

    `root` is the folder with torchvision's `cifar-10-batches-py`, by default GENMODS_DATA. With `download`, missing
    files are downloaded to it.
    """

    root: str | None = None
    download: bool = False

    def read(self) -> dict[str, Images]:
        if self._folder() is None and self.download:
            fetch(type(self).__name__, self.root)
        return {split: _images(self._open(split == "train")) for split in ("train", "test")}

    @property
    def kind_of_labels(self) -> LabelKind:
        return "class"

    @property
    def class_names(self) -> list[str]:
        return ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]

    def _inside(self) -> str:
        return "cifar-10-batches-py"

    def _folder(self) -> Path | None:
        return next((f for f in candidates(self.root, [], []) if (f / self._inside()).is_dir()), None)

    def _open(self, train: bool) -> Any:
        import torchvision.datasets

        name = type(self).__name__
        folder = self._folder()
        if folder is None:
            places = ", ".join(str(f / self._inside()) for f in candidates(self.root, [], []))
            raise UserError(f"no {name} in {places}: set root, GENMODS_DATA or download: true")
        try:
            return getattr(torchvision.datasets, name)(str(folder), train=train)
        except (RuntimeError, OSError) as error:
            raise UserError(f"{folder / self._inside()}: {name} is incomplete or broken: {error}") from None


@dataclass
class CIFAR100(CIFAR10):
    """Photographs, 32 x 32 RGB, 50,000 for training and 10,000 for testing, 100 classes; located like CIFAR-10."""

    @cached_property
    def class_names(self) -> list[str]:
        return list(self._open(train=False).classes)

    def _inside(self) -> str:
        return "cifar-100-python"


def _images(data: Any) -> Images:
    pixels = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
    return Images(pixels, torch.tensor(data.targets, dtype=torch.int64))
