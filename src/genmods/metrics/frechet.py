"""Distances between two sets of features: Fréchet inception distance (FID), its limit for many samples, and kernel
inception distance (KID).

FID = |m1 - m2|² + Tr(C1 + C2 - 2 (C1 C2)^½), the squared 2-Wasserstein distance of Gaussians fitted to the features
(Heusel et al. 2017). It is biased upwards: for whitened features of one distribution it is about (d + d(d+1)/4)
(1/N1 + 1/N2); therefore the sample count is part of its name. FD∞, its limit for infinitely many samples, is read from
a line in 1/N (Chong and Forsyth 2020). KID is the unbiased squared MMD with the kernel
(x·y/d + 1)³ (Bińkowski et al. 2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from genmods.core.devices import to_float64
from genmods.core.printable import counted
from genmods.core.settings import Count
from genmods.metrics.base import EvaluationData, Metric, MetricResult, MetricValue, count_name
from genmods.metrics.statistics import Statistics, gaussian_statistics, half_width


def frechet_distance(first: Statistics, second: Statistics) -> float:
    """Squared 2-Wasserstein distance of two Gaussians, at least 0.

    For C1 = F1ᵀ F1 and C2 = F2ᵀ F2, Tr (C1 C2)^½ is the sum of the singular values of F1 F2ᵀ. Of fewer samples than
    features, F has the size of the samples.
    """
    cross = torch.linalg.svdvals(first.factor @ second.factor.T).sum()
    shift = (first.mean - second.mean).square().sum()
    return max(0.0, float(shift + first.variance + second.variance - 2 * cross))


def _kernel_sum(x: Tensor, y: Tensor) -> float:
    """Sum of the kernel over all pairs, block by block."""
    d = x.shape[1]
    return sum(float(((a @ y.T) / d + 1).pow(3).sum()) for a in x.split(2000))


def kernel_distance(x: Tensor, y: Tensor) -> float:
    """Unbiased squared MMD of features [N, D] and [M, D] with the cubic kernel; may be negative."""
    x, y = to_float64(x), to_float64(y)
    n, m, d = len(x), len(y), x.shape[1]
    if min(n, m) < 2:
        raise ValueError(f"the kernel distance requires at least 2 images per set, got {n} and {m}")
    own_x = float((x.square().sum(1) / d + 1).pow(3).sum())
    own_y = float((y.square().sum(1) / d + 1).pow(3).sum())
    within = (_kernel_sum(x, x) - own_x) / (n * (n - 1)) + (_kernel_sum(y, y) - own_y) / (m * (m - 1))
    return within - 2 * _kernel_sum(x, y) / (n * m)


def _resampled(features: Tensor, generator: torch.Generator) -> Tensor:
    return features[torch.randint(len(features), (len(features),), generator=generator)]


@dataclass
class FrechetDistance(Metric):
    """FID of the samples against all training images; `held_out` is the FID of the test images.

    The interval is a 95 % confidence interval for FID_n, the expected FID of n samples of the model, not for the limit
    of infinitely many samples, which is lower (see `held_out`). It is the value ± Student's quantile times the standard
    deviation over `bootstrap` resamplings of the samples, which does not include the bias of a resampled FID; 0
    disables it.
    """

    bootstrap: Annotated[int, Ge(0), Le(10_000)] = 10

    @property
    def least(self) -> dict[str, int]:
        return dict.fromkeys(("samples", "train", "test"), 2)

    def __call__(self, data: EvaluationData) -> MetricResult:
        reference, features = data.reference, data.sample_features
        value = frechet_distance(gaussian_statistics(features), reference)
        low = high = None
        if self.bootstrap >= 2:
            generator, drawn = data.generator(), list[float]()
            for done in range(self.bootstrap):
                drawn.append(frechet_distance(gaussian_statistics(_resampled(features, generator)), reference))
                data.progress(done + 1, self.bootstrap)
            spread = half_width(torch.tensor(drawn))
            low, high = max(0.0, value - spread), value + spread
        test = data.held_out_features
        held_out = None if test is None else frechet_distance(gaussian_statistics(test), reference)
        name = f"fid_{count_name(len(features))}"
        note = f"features {data.extractor.name}{_about_rank(features)}"
        return MetricResult([MetricValue(name, value, low, high, held_out, note)])


def _about_rank(features: Tensor) -> str:
    """A note about features [N, D] of fewer samples than features."""
    n, d = features.shape
    if n > d:
        return ""
    return f"; {n:,} samples of {d:,} features have a singular covariance, computed from their products (Gram matrix)"


def frechet_limit(features: Tensor, reference: Statistics, subsets: int, generator: torch.Generator) -> float:
    """FD∞, the value at 1/N = 0 of a least-squares line through the FID of random subsets of N samples.

    Args:
        features: Features of the samples [N, D].
        reference: Mean and covariance of the training images' features.
        subsets: Number of subsets, at least 2, evenly spaced in 1/N, from a fifth of the samples or D + 1 to all.
        generator: Draws the subsets, on the CPU.

    Raises:
        ValueError: If there are fewer than 2 (D + 1) samples, whose bias is not linear in 1/N.
    """
    count, least = len(features), features.shape[1] + 1
    if count < 2 * least:
        raise ValueError(f"{counted(features.shape[1], 'feature')} require at least {2 * least} samples, got {count}")
    ends = min(5.0, count / least), 1.0
    sizes = (count / torch.linspace(*ends, subsets, dtype=torch.float64)).round().long()
    drawn = (features[torch.randperm(count, generator=generator)[:size]] for size in sizes.tolist())
    values = torch.tensor([frechet_distance(gaussian_statistics(subset), reference) for subset in drawn])
    columns = torch.stack([torch.ones(subsets), 1 / sizes], dim=1).double()
    return float(torch.linalg.lstsq(columns, values[:, None].double()).solution[0])


@dataclass
class FrechetLimit(Metric):
    """FD∞, the FID for infinitely many samples, extrapolated from `subsets` subsets; it may be negative.

    `held_out` is that of the test images, if there are enough of them. The bias of the finite number of training images
    remains.
    """

    subsets: Annotated[int, Ge(2), Le(1000)] = 15

    @property
    def least(self) -> dict[str, int]:
        return dict.fromkeys(("samples", "train"), 2)

    def __call__(self, data: EvaluationData) -> MetricResult:
        def limit(features: Tensor) -> float:
            return frechet_limit(features, data.reference, self.subsets, data.generator())

        value, test = limit(data.sample_features), data.held_out_features
        held_out = None if test is None or len(test) < 2 * (test.shape[1] + 1) else limit(test)
        note = f"from {counted(len(data.sample_features), 'sample')}, features {data.extractor.name}"
        return MetricResult([MetricValue("fid_infinity", value, held_out=held_out, note=note)])


@dataclass
class KernelDistance(Metric):
    """KID of the samples against at most `references` training images; unbiased for any number of images.

    The interval is a 95 % confidence interval for the expected KID of the model's samples against these references: the
    value ± Student's quantile times the standard error over `blocks` parts of the samples; 1 disables it.
    """

    references: Annotated[int, Ge(2)] = 10000
    blocks: Count = 10

    @property
    def least(self) -> dict[str, int]:
        return dict.fromkeys(("samples", "train", "test"), 2)

    def __call__(self, data: EvaluationData) -> MetricResult:
        generator = data.generator()
        real = data.train_features
        real = real[torch.randperm(len(real), generator=generator)[: self.references]]
        features = data.sample_features
        value = kernel_distance(features, real)
        low = high = None
        chunks = features[torch.randperm(len(features), generator=generator)].chunk(self.blocks)
        parts = [chunk for chunk in chunks if len(chunk) > 1]
        if len(parts) > 1:
            drawn = torch.tensor([kernel_distance(part, real) for part in parts])
            spread = half_width(drawn) / len(drawn) ** 0.5
            low, high = value - spread, value + spread
        test = data.held_out_features
        held_out = None if test is None else kernel_distance(test, real)
        name = f"kid_{count_name(len(features))}"
        return MetricResult([MetricValue(name, value, low, high, held_out, f"features {data.extractor.name}")])
