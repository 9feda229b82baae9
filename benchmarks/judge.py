"""FID and KID of samples by the features of a classifier, and rows of JSON that an interrupted run continues."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genmods.metrics.features import classifier_features
from genmods.metrics.frechet import frechet_distance, kernel_distance
from genmods.metrics.statistics import gaussian_statistics
from genmods.runs import folders
from genmods.runs.checkpoint import Checkpoint
from genmods.runs.fit import build_data


class Judge:
    """The features of the training and test images of a run, and the distances of samples to the training images."""

    def __init__(self, run: str, features: str, device: torch.device | str = "cpu"):
        data = build_data(Checkpoint.read(folders.find_checkpoint(run)).parsed())
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
