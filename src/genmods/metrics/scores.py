"""Scores of a set of samples: inception score, precision and recall, bits per dimension.

Inception score: exp E KL(p(y|x) ‖ p(y)) (Salimans et al. 2016), between 1 and the number of classes. Precision and
recall (Kynkäänniemi et al. 2019): the part of one set that lies in the other's manifold, the union of balls around its
points that reach their k-th neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from genmods.core.devices import to_float64
from genmods.core.errors import UserError
from genmods.metrics.base import Evidence, Figure, Findings, Metric, count_name
from genmods.metrics.neighbours import distances
from genmods.models import Likelihood


def inception_score(probabilities: Tensor) -> float:
    """exp of the mean divergence of class probabilities [N, K] from their mean."""
    p = to_float64(probabilities)
    return float((torch.xlogy(p, p) - torch.xlogy(p, p.mean(dim=0))).sum(dim=1).mean().exp())


def neighbour_distance(points: Tensor, k: int) -> Tensor:
    """Distance [N] of each point [N, D] to its k-th nearest other point."""
    if not 1 <= k < len(points):
        raise ValueError(f"k must be between 1 and the number of points - 1 = {len(points) - 1}, got {k}")
    return torch.cat([distances(part, points).kthvalue(k + 1, dim=1).values for part in points.split(1000)])


def coverage(points: Tensor, manifold: Tensor, k: int = 3) -> float:
    """The part of `points` [N, D] inside the k-neighbour balls of `manifold` [M, D]."""
    radius = neighbour_distance(manifold, k)
    inside = [(distances(part, manifold) <= radius).any(dim=1) for part in points.split(1000)]
    return float(to_float64(torch.cat(inside)).mean())


@dataclass
class InceptionScore(Metric):
    """Inception score of the samples by the feature extractor's classes; its floor is that of the test images."""

    def __call__(self, evidence: Evidence) -> Findings:
        classify = evidence.extractor.probabilities
        value = inception_score(classify(evidence.samples))
        floor = (
            None if evidence.test is None else inception_score(classify(evidence.test[: evidence.n], evidence.levels))
        )
        return Findings([Figure(f"is_{count_name(len(evidence.samples))}", value, floor=floor)])


@dataclass
class OfManifold(Metric):
    """A share of one set of features in the other's manifold, whose balls reach the `k`-th neighbours."""

    k: int = 3
    name: ClassVar[str]

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k must be at least 1, not {self.k}")

    def share(self, real: Tensor, fake: Tensor) -> float:
        """The figure for features [N, D] of as many training images as there are samples [N, D]."""
        raise NotImplementedError

    def __call__(self, evidence: Evidence) -> Findings:
        fake, test = evidence.sample_features, evidence.floor_features
        order = torch.randperm(len(evidence.train_features), generator=evidence.generator())
        real = evidence.train_features[order[: len(fake)]]
        floor = None if test is None else self.share(real, test)
        return Findings([Figure(f"{self.name}_{count_name(len(fake))}", self.share(real, fake), floor=floor)])


@dataclass
class Precision(OfManifold):
    """How much of the samples lies in the manifold of as many training images."""

    name: ClassVar[str] = "precision"

    def share(self, real: Tensor, fake: Tensor) -> float:
        return coverage(fake, real, self.k)


@dataclass
class Recall(OfManifold):
    """How much of as many training images lies in the manifold of the samples."""

    name: ClassVar[str] = "recall"

    def share(self, real: Tensor, fake: Tensor) -> float:
        return coverage(real, fake, self.k)


@dataclass
class BitsPerDimension(Metric):
    """Bits per dimension by the variational bound, the mean over at most `images` test images."""

    images: int = 10000
    batch_size: int = 100
    name: ClassVar[str] = "bpd"

    def __post_init__(self) -> None:
        if self.images < 2 or self.batch_size < 1:
            raise ValueError(f"images={self.images} must be at least 2, batch_size={self.batch_size} at least 1")

    def bits(self, likelihood: Likelihood, images: Tensor, indices: Tensor) -> Tensor:
        """The bits per dimension [B] of `images` [B, C, H, W]."""
        return likelihood.bound(images, indices)

    def __call__(self, evidence: Evidence) -> Findings:
        if evidence.likelihood is None:
            raise UserError("this metric needs a model with a likelihood")
        test = evidence.images("test")[: self.images]
        chunks = torch.arange(len(test)).split(self.batch_size)
        parts = []
        for chunk in chunks:
            with torch.no_grad():
                parts.append(self.bits(evidence.likelihood, test[chunk], chunk).cpu().double())
            evidence.progress(len(parts), len(chunks))
        found = torch.cat(parts)
        value, spread = float(found.mean()), 1.96 * float(found.std()) / len(found) ** 0.5
        return Findings([Figure(self.name, value, value - spread, value + spread, note=f"{len(found)} test images")])


@dataclass
class FlowBitsPerDimension(BitsPerDimension):
    """Bits per dimension by the probability flow, uniformly dequantised, of at most `images` test images."""

    images: int = 500
    name: ClassVar[str] = "bpd_ode"

    def bits(self, likelihood: Likelihood, images: Tensor, indices: Tensor) -> Tensor:
        return likelihood.flow(images, indices)
