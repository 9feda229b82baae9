"""FID and KID of samples by features, and rows of JSON and tensors that an interrupted run continues."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genmods.data.base import DataModule
from genmods.data.images import to_float, to_uint8
from genmods.metrics.features import classifier_features
from genmods.metrics.frechet import frechet_distance, kernel_distance
from genmods.metrics.statistics import gaussian_statistics
from genmods.runs import folders
from genmods.runs.checkpoint import Checkpoint
from genmods.runs.fit import build_data


def run_data(run: str) -> DataModule:
    """The data of a run."""
    return build_data(Checkpoint.read(folders.find_checkpoint(run)).parsed())


class Judge:
    """The features of training and test images, and the distances of samples to the training images.

    `features` is a classifier's run.
    """

    def __init__(self, data: DataModule, features: str, device: torch.device | str = "cpu"):
        self.features, self.levels = classifier_features(folders.load(features), device), data.info.levels
        self.train, self.test = (self.features(data.splits[name].pixels, self.levels) for name in ("train", "test"))
        self.reference = gaussian_statistics(self.train)

    def distances(self, images: Tensor) -> dict[str, float]:
        """FID and KID of images [N, C, H, W] in [-1, 1]."""
        features = self.features(images, self.levels)
        kid = round(kernel_distance(features, self.train), 6)
        return {"fid": self.fid(features), "kid": kid, "test_fid": self.fid(self.test[: len(features)])}

    def fid(self, features: Tensor) -> float:
        """The FID of features [N, D]."""
        return round(frechet_distance(gaussian_statistics(features), self.reference), 4)


def block_kid(features: Tensor, reference: Tensor, blocks: int = 8) -> tuple[float, float]:
    """KID of `features` [N, D] from those of the `reference` [M, D], and its standard error from `blocks` of them."""
    parts = torch.tensor([kernel_distance(part, reference) for part in features.chunk(min(blocks, len(features) // 2))])
    return kernel_distance(features, reference), (parts.std() / len(parts) ** 0.5).item()


def kept(path: Path, make: Callable[[], Tensor]) -> Tensor:
    """The tensor in the file `path`, or else the one that `make` makes, which is written there."""
    if not path.exists():
        store(make(), path)
    return torch.load(path)


def store(value: Any, path: Path) -> None:
    """Write tensors, or plain data with tensors, to `path`, all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(value, path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)


def in_chunks(make: Callable[[slice], Tensor], n: int, at: Path, size: int = 64) -> Tensor:
    """`make` of `n` rows, `size` at a time, each of which is kept in the folder `at`."""
    parts = [slice(first, min(first + size, n)) for first in range(0, n, size)]
    return torch.cat([kept(at / f"{part.start}-{part.stop}.pt", partial(make, part)) for part in parts])


def rounded(images: Tensor) -> Tensor:
    """Images [N, C, H, W] in [-1, 1] with 256 grey levels."""
    return to_float(to_uint8(images.clamp(-1, 1)))


def kept_features(extractor: Callable[[Tensor], Tensor], images: Tensor, at: Path) -> Tensor:
    """The features [N, D] of images with 256 grey levels, kept in the folder `at`."""
    return in_chunks(lambda rows: extractor(rounded(images[rows])), len(images), at)


class Rows:
    """Rows of figures in a JSONL file; `fixed` columns are the same in all of them."""

    def __init__(self, path: Path, key: Sequence[str], fixed: dict[str, Any]):
        self.path, self.key, self.fixed = path, key, fixed
        self.rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        if any({name: row[name] for name in fixed} != fixed for row in self.rows):
            raise SystemExit(f"{path}: measured with other settings than {fixed}")

    def left(self, wanted: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Those of the `wanted` points (the columns of the key) that were not measured before."""
        known = {tuple(row[name] for name in self.key) for row in self.rows}
        return (point for point in wanted if tuple(point[name] for name in self.key) not in known)

    def add(self, row: dict[str, Any]) -> None:
        """Append a row to the file and print its figures."""
        self.rows.append(row | self.fixed)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(self.rows[-1]) + "\n")
        print(", ".join(f"{name} {value}" for name, value in row.items() if not isinstance(value, dict)), flush=True)
