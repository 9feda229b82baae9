"""What a metric is: a callable from evidence to figures.

`Evidence` holds what one evaluation knows (images, samples, a feature extractor) and computes each derived thing at
most once, so that FID, KID, precision and nearest neighbours share one set of samples and one pass of the extractor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from genmods.core.errors import UserError
from genmods.metrics.features import Features, as_float
from genmods.metrics.statistics import GaussianStatistics, cached_statistics
from genmods.models import Likelihood


@dataclass
class Figure:
    """One figure of an evaluation: `value` its 95 % interval [low, high], and the `floor` a perfect model gets."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    floor: float | None = None
    note: str = ""


@dataclass
class Findings:
    """What a metric found: `figures`, and `pictures` by name as image batches [B, C, H, W] in [-1, 1]."""

    figures: list[Figure]
    pictures: dict[str, Tensor] = field(default_factory=dict)


class Metric(ABC):
    """A kind of figure that `evaluate` computes; its settings are the constructor's keywords."""

    @abstractmethod
    def __call__(self, evidence: Evidence) -> Findings:
        """Compute the figures. Raises UserError where the evidence lacks what this metric needs."""


def count_name(n: int) -> str:
    """A sample count as it stands in a metric's name: 2000 -> "2k", 500 -> "500", 2500 -> "2500"."""
    return f"{n // 1000}k" if n and n % 1000 == 0 else str(n)


@dataclass
class Evidence:
    """All that one evaluation may look at. Images [N, C, H, W] are float in [-1, 1], or uint8 of `levels` grey levels;
    labels are int64 [N].

    `generate(n)` returns n samples [n, C, H, W] in [-1, 1]; `likelihood` is that of the model.
    `progress(done, total)` is called as a long figure grows.
    `cache` is the folder in which reference statistics are kept by the hash of data and features (None: not kept).
    """

    train: Tensor | None = None
    train_labels: Tensor | None = None
    test: Tensor | None = None
    test_labels: Tensor | None = None
    generate: Callable[[int], Tensor] | None = None
    features: Features | None = None
    likelihood: Likelihood | None = None
    progress: Callable[[int, int], None] = lambda done, total: None
    n: int = 2000
    levels: int = 256
    seed: int = 0
    cache: Path | None = None

    def images(self, what: str) -> Tensor:
        """The images called `what`, float32 in [-1, 1]; raises UserError where there are none."""
        return as_float(self.need(what), self.levels)

    def need(self, what: str) -> Tensor:
        """The images or labels called `what` as they are; raises UserError where there are none."""
        value = getattr(self, what)
        if value is None:
            raise UserError(f"this metric needs {what.replace('_', ' ')}, and the data has none")
        return value

    @cached_property
    def extractor(self) -> Features:
        """The feature extractor, or a UserError that says how to give one."""
        if self.features is None:
            raise UserError("this metric needs features: a classifier's run, 'inception' or 'pixels'")
        return self.features

    @cached_property
    def samples(self) -> Tensor:
        """`n` generated images, float32 in [-1, 1]."""
        if self.generate is None:
            raise UserError("this metric needs a model that generates images")
        return self.generate(self.n)

    @cached_property
    def sample_features(self) -> Tensor:
        """Features [n, D] of the samples."""
        return self.extractor(self.samples)

    @cached_property
    def train_features(self) -> Tensor:
        """Features [N, D] of all training images."""
        return self.extractor(self.need("train"), self.levels)

    @cached_property
    def test_features(self) -> Tensor:
        """Features [M, D] of all test images."""
        return self.extractor(self.need("test"), self.levels)

    @cached_property
    def floor_features(self) -> Tensor | None:
        """Features of at most `n` test images: what a perfect model would show in place of its samples."""
        if self.test is None:
            return None
        return self.test_features[torch.randperm(len(self.test), generator=self.generator())[: self.n]]

    @cached_property
    def reference(self) -> GaussianStatistics:
        """Mean and covariance of the training images' features, from the cache where it has them."""
        return cached_statistics(
            self.cache, f"{self.extractor.name}-{self.levels}", self.need("train"), lambda: self.train_features
        )

    def generator(self) -> torch.Generator:
        """A fresh generator of this evaluation's seed, for bootstraps and subsets."""
        return torch.Generator().manual_seed(self.seed)
