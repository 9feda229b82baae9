"""Sample quality and likelihood: inception score, precision, recall, density and coverage, bits per dimension.

The inception score is exp E KL(p(y|x) ‖ p(y)) (Salimans et al. 2016), between 1 and the number of classes. Precision
and recall (Kynkäänniemi et al. 2019) are the fraction of one set inside the manifold of the other, estimated by the
union of balls around its points with the distance to the k-th nearest neighbour as radius. Density counts the balls of
the training images around a sample, and coverage the balls that contain a sample (Naeem et al. 2020), so that an
outlier among the training images counts less than in precision. For samples with the distribution of the training
images, the expected density is 1 and the expected coverage about 1 - 2^-k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from genmods.core.devices import to_float64
from genmods.core.errors import UserError
from genmods.core.settings import BatchSize, Count
from genmods.data.kept.pixels import PixelRows
from genmods.metrics.base import EvaluationData, Metric, MetricResult, MetricValue, count_name
from genmods.metrics.features import as_float
from genmods.metrics.neighbors import distances
from genmods.metrics.statistics import half_width
from genmods.models import HasLikelihood, Likelihood


def inception_score(probabilities: Tensor) -> float:
    """Inception score of class probabilities [N, K]: exp of the mean KL divergence from their mean."""
    p = to_float64(probabilities)
    return float((torch.xlogy(p, p) - torch.xlogy(p, p.mean(dim=0))).sum(dim=1).mean().exp())


def neighbor_distance(points: Tensor, k: int) -> Tensor:
    """Distance [N] of each point [N, D] to its k-th nearest other point."""
    if not 1 <= k < len(points):
        raise ValueError(f"k must be between 1 and the number of points - 1 = {len(points) - 1}, got {k}")
    return torch.cat([distances(part, points).kthvalue(k + 1, dim=1).values for part in points.split(1000)])


def share_inside(points: Tensor, manifold: Tensor, k: int = 3) -> float:
    """Fraction of `points` [N, D] inside the k-nearest-neighbour balls of `manifold` [M, D]."""
    radius = neighbor_distance(manifold, k)
    inside = [(distances(part, manifold) <= radius).any(dim=1) for part in points.split(1000)]
    return float(to_float64(torch.cat(inside)).mean())


def density_and_coverage(real: Tensor, fake: Tensor, k: int = 5) -> tuple[float, float]:
    """Density and coverage of samples (Naeem et al. 2020).

    Args:
        real: Features of training images [N, D].
        fake: Features of samples [M, D].
        k: The neighbour whose distance is the radius of a training image's ball.

    Returns:
        1/k times the mean number of balls around a sample, and the fraction of balls that contain a sample.
    """
    radius = neighbor_distance(real, k)
    inside = [distances(part, real) < radius for part in fake.split(1000)]
    reached = torch.stack([part.any(dim=0) for part in inside]).any(dim=0)
    return sum(int(part.sum()) for part in inside) / (k * len(fake)), float(to_float64(reached).mean())


@dataclass
class InceptionScore(Metric):
    """Inception score of the samples, with the feature extractor's classes; `held_out` is that of the test images."""

    needs = ("classes",)

    def __call__(self, data: EvaluationData) -> MetricResult:
        value = inception_score(self._probabilities(data, data.samples))
        held_out = None
        if data.test is not None:
            held_out = inception_score(self._probabilities(data, data.test[: data.n], data.levels))
        return MetricResult([MetricValue(f"is_{count_name(len(data.samples))}", value, held_out=held_out)])

    def _probabilities(self, data: EvaluationData, images: PixelRows, levels: int = 256) -> Tensor:
        extractor = data.extractor
        name, size = f"{extractor.name}-probabilities", extractor.batch_size
        return data.computed(name, images, size, lambda some, _: extractor.probabilities(some, levels))


@dataclass
class ManifoldMetric(Metric):
    """Fraction of one set of features inside the manifold of another, estimated with the `k`-th nearest neighbours."""

    k: Count = 3
    name: ClassVar[str]

    @property
    def least(self) -> dict[str, int]:
        return dict.fromkeys(("samples", "train", "test"), self.k + 1)

    def share(self, real: Tensor, fake: Tensor) -> float:
        """The fraction for features `real` [N, D] of training images and `fake` [N, D] of as many samples."""
        raise NotImplementedError

    def __call__(self, data: EvaluationData) -> MetricResult:
        fake, test = data.sample_features, data.held_out_features
        order = torch.randperm(len(data.train_features), generator=data.generator())
        real = data.train_features[order[: len(fake)]]
        held_out = None if test is None else self.share(real, test)
        return MetricResult(
            [MetricValue(f"{self.name}_{count_name(len(fake))}", self.share(real, fake), held_out=held_out)]
        )


@dataclass
class Precision(ManifoldMetric):
    """Fraction of the samples inside the manifold of as many training images."""

    name: ClassVar[str] = "precision"

    def share(self, real: Tensor, fake: Tensor) -> float:
        return share_inside(fake, real, self.k)


@dataclass
class Recall(ManifoldMetric):
    """Fraction of as many training images inside the manifold of the samples."""

    name: ClassVar[str] = "recall"

    def share(self, real: Tensor, fake: Tensor) -> float:
        return share_inside(real, fake, self.k)


@dataclass
class Density(ManifoldMetric):
    """Mean number of the balls of as many training images around a sample, over `k`; 1 for a perfect model."""

    k: Count = 5
    name: ClassVar[str] = "density"

    def share(self, real: Tensor, fake: Tensor) -> float:
        return density_and_coverage(real, fake, self.k)[0]


@dataclass
class Coverage(ManifoldMetric):
    """Fraction of the balls of as many training images that contain a sample."""

    k: Count = 5
    name: ClassVar[str] = "coverage"

    def share(self, real: Tensor, fake: Tensor) -> float:
        return density_and_coverage(real, fake, self.k)[1]


@dataclass
class BitsPerDimension(Metric):
    """Bits per dimension: the variational bound (ELBO), averaged over at most `images` test images."""

    images: Annotated[int, Ge(2)] = 10000
    batch_size: BatchSize = 100
    name: ClassVar[str] = "bpd"

    @property
    def least(self) -> dict[str, int]:
        return {"test": 2}

    def check_model(self, model: Any) -> None:
        if not isinstance(model, HasLikelihood) or model.likelihood() is None:
            raise UserError(f"{self.name} requires a model with a likelihood")

    def bits(self, likelihood: Likelihood, images: Tensor, indices: Tensor) -> Tensor:
        """The bits per dimension [B] of `images` [B, C, H, W]."""
        return likelihood.bound(images, indices)

    def __call__(self, data: EvaluationData) -> MetricResult:
        if data.likelihood is None:
            raise UserError("this metric requires a model with a likelihood")
        likelihood, test = data.likelihood, data.need("test")[: self.images]

        def bits(images: Tensor, numbers: Tensor) -> Tensor:
            with torch.no_grad():
                return self.bits(likelihood, as_float(images, data.levels), numbers).cpu().double()

        found = data.computed(self.name, test, self.batch_size, bits)
        value, margin = float(found.mean()), half_width(found) / len(found) ** 0.5
        note = f"{len(found)} test images"
        return MetricResult([MetricValue(self.name, value, value - margin, value + margin, note=note)])


@dataclass
class FlowBitsPerDimension(BitsPerDimension):
    """Bits per dimension by the probability flow ODE with uniform dequantisation, of at most `images` test images."""

    images: Annotated[int, Ge(2)] = 500
    name: ClassVar[str] = "bpd_ode"

    def bits(self, likelihood: Likelihood, images: Tensor, indices: Tensor) -> Tensor:
        return likelihood.flow(images, indices)
