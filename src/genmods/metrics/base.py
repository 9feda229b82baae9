"""The interface of metrics: a callable that maps `EvaluationData` to a `MetricResult`.

`EvaluationData` holds the inputs of one evaluation (images, samples, a feature extractor) and caches what is derived
from them, so that FID, KID, precision and nearest neighbours share one set of samples and one pass of the extractor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from genmods.core.errors import UserError
from genmods.core.settings import Validated
from genmods.data.kept.pixels import PixelRows
from genmods.metrics.features import Features, as_float
from genmods.metrics.statistics import Statistics, cached_statistics, data_hash
from genmods.models import Likelihood, Model


@dataclass
class MetricValue:
    """One number of an evaluation: `value`, its 95 % interval [`low`, `high`], and `held_out`, the value of real
    images that were not trained on."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    held_out: float | None = None
    note: str = ""


@dataclass
class MetricResult:
    """The result of a metric: `values`, `pictures` by name as image batches [B, C, H, W] in [-1, 1], and `tables`.

    A table is its columns and its rows.
    """

    values: list[MetricValue]
    pictures: dict[str, Tensor] = field(default_factory=dict)
    tables: dict[str, tuple[list[str], list[list[Any]]]] = field(default_factory=dict)


class Metric(Validated, ABC):
    """The registry kind `metric`: computed by `evaluate`, with flat settings."""

    needs: ClassVar[tuple[Literal["classes", "others"], ...]] = ()
    """What not every evaluation has: features with class probabilities, images of another kind."""

    @property
    def least(self) -> dict[str, int]:
        """The smallest numbers of "samples", "train" images and "test" images for those that the metric uses."""
        return {}

    def check_model(self, model: Any) -> None:
        """Raises UserError if the metric cannot be computed for the model."""
        return

    @abstractmethod
    def __call__(self, data: EvaluationData) -> MetricResult:
        """Compute the metric.

        Args:
            data: The images, samples and features of the evaluation.

        Returns:
            The values and, for some metrics, pictures.

        Raises:
            UserError: If `data` lacks what this metric requires.
        """


def require_enough(metrics: Mapping[str, Metric], counts: Mapping[str, int | None]) -> None:
    """Raises UserError if a metric requires more than the `counts` of samples or images.

    Args:
        metrics: The metrics by name.
        counts: Numbers of "samples", "train" and "test" images; None for those that do not exist.
    """
    for name, metric in metrics.items():
        for what, least in metric.least.items():
            count = counts.get(what)
            if count is not None and count < least:
                noun = what if what == "samples" else f"{what} images"
                raise UserError(f"{name} requires at least {least} {noun}, got {count}")


def counts(data: EvaluationData) -> dict[str, int | None]:
    """Numbers of "samples", "train" and "test" images of an evaluation; None for those that do not exist."""
    return {
        "samples": data.n if data.generate is not None else None,
        "train": None if data.train is None else len(data.train),
        "test": None if data.test is None else len(data.test),
    }


Compute = Callable[[str, int, int, Callable[[int, int], Tensor]], Tensor]
"""(name, n, batch size, make) -> rows [n, ...], made in batches: make(first, stop) returns rows first to stop - 1."""


def in_memory(name: str, n: int, batch_size: int, make: Callable[[int, int], Tensor]) -> Tensor:
    """The `Compute` that keeps nothing but its result, [n, ...]."""
    return torch.cat([make(first, min(first + batch_size, n)) for first in range(0, n, batch_size)])


def count_name(n: int) -> str:
    """A sample count as part of a metric's name: 2000 -> "2k", 500 -> "500", 2500 -> "2500"."""
    return f"{n // 1000}k" if n and n % 1000 == 0 else str(n)


@dataclass
class EvaluationData:
    """The inputs of one evaluation, and what metrics derive from them, computed once.

    Args:
        train: Training images [N, C, H, W], float in [-1, 1] or uint8 with `levels` grey levels.
        train_labels: Their labels, int64 [N].
        train_names: Their files, by which results name them.
        test: Test images [M, C, H, W], likewise.
        test_labels: Their labels, int64 [M].
        generate: Maps n to n samples [n, C, H, W] in [-1, 1].
        features: The feature extractor.
        model: The model, for metrics of what it computes for images.
        likelihood: The likelihood of the model.
        others: Images [M, C, H, W] of another kind, in the format of `test`.
        other_names: Their files.
        progress: Called with (done, total) during long computations.
        n: Number of samples.
        levels: Number of grey levels of uint8 images.
        seed: Seed of bootstraps and subsets.
        cache: Folder that caches reference statistics by the hashes of data and features; None disables the cache.
        compute: Computes what takes long, batch by batch; may keep batches on disk, by name.
    """

    train: PixelRows | None = None
    train_labels: Tensor | None = None
    train_names: Sequence[str] | None = None
    test: PixelRows | None = None
    test_labels: Tensor | None = None
    generate: Callable[[int], Tensor] | None = None
    features: Features | None = None
    model: Model | None = None
    likelihood: Likelihood | None = None
    others: Tensor | None = None
    other_names: Sequence[str] | None = None
    progress: Callable[[int, int], None] = lambda done, total: None
    n: int = 2000
    levels: int = 256
    seed: int = 0
    cache: Path | None = None
    compute: Compute = in_memory

    def computed(
        self, name: str, images: PixelRows, batch_size: int, make: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        """One row for each of `images` [N, ...], computed batch by batch.

        Args:
            name: Name of the computed quantity; independent of the images.
            images: The images, as stored.
            batch_size: Images per batch.
            make: Maps images [B, ...] and their numbers, int64 [B], to rows [B, ...].
        """

        def batch(first: int, stop: int) -> Tensor:
            rows = make(images[first:stop], torch.arange(first, stop))
            self.progress(stop, len(images))
            return rows

        return self.compute(f"{name}-{data_hash(images)}", len(images), batch_size, batch)

    def _features(self, images: PixelRows, levels: int = 256) -> Tensor:
        extractor = self.extractor
        return self.computed(extractor.name, images, extractor.batch_size, lambda some, _: extractor(some, levels))

    def images(self, what: str) -> Tensor:
        """The images `what` ("train" or "test") as float32 [N, C, H, W] in [-1, 1]; raises UserError if absent."""
        return as_float(self.need(what)[:], self.levels)

    def need(self, what: str) -> PixelRows:
        """The images `what` as stored, [N, C, H, W]; raises UserError if absent."""
        images: PixelRows | None = getattr(self, what)
        if images is None:
            raise UserError(f"this metric requires {what} images, which the data does not have")
        return images

    def classes(self, what: str) -> Tensor:
        """The labels `what` int64 [N]. Raises UserError if they are absent or not one class per image."""
        labels: Tensor | None = getattr(self, what)
        if labels is None:
            raise UserError(f"this metric requires {what.replace('_', ' ')}, which the data does not have")
        if labels.is_floating_point():
            raise UserError("this metric requires one class per image")
        return labels

    @cached_property
    def extractor(self) -> Features:
        """The feature extractor; raises UserError if none was given."""
        if self.features is None:
            raise UserError("this metric requires features: a classifier's run, or a name of `genmods list features`")
        return self.features

    @cached_property
    def samples(self) -> Tensor:
        """`n` generated images, float32 in [-1, 1]."""
        if self.generate is None:
            raise UserError("this metric requires a generative model")
        return self.generate(self.n)

    @cached_property
    def sample_features(self) -> Tensor:
        """Features [n, D] of the samples."""
        return self._features(self.samples)

    @cached_property
    def train_features(self) -> Tensor:
        """Features [N, D] of all training images."""
        return self._features(self.need("train"), self.levels)

    @cached_property
    def test_features(self) -> Tensor:
        """Features [M, D] of all test images."""
        return self._features(self.need("test"), self.levels)

    @cached_property
    def held_out_features(self) -> Tensor | None:
        """Features of at most `n` test images, as samples of a perfect model; None without test images."""
        if self.test is None:
            return None
        return self.test_features[torch.randperm(len(self.test), generator=self.generator())[: self.n]]

    @cached_property
    def reference(self) -> Statistics:
        """Mean and covariance of the training images' features, cached on disk if `cache` is set."""
        return cached_statistics(
            self.cache, f"{self.extractor.name}-{self.levels}", self.need("train"), lambda: self.train_features
        )

    def generator(self) -> torch.Generator:
        """A new random generator with the evaluation's seed, for bootstraps and subsets."""
        return torch.Generator().manual_seed(self.seed)
