"""Mean and covariance of features in float64, cached on disk by image hash and feature name; confidence intervals."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from genmods.core.atomic import replacing
from genmods.core.devices import to_float64
from genmods.data.kept.pixels import PixelRows, chunks


class _Moments(NamedTuple):
    size: int
    mean: Tensor
    covariance: Tensor


class GaussianStatistics(_Moments):
    """Number of samples, mean [D] and unbiased covariance [D, D], float64."""

    @cached_property
    def factor(self) -> Tensor:
        """The symmetric root F of the covariance, [D, D], computed once: the covariance is Fᵀ F."""
        values, vectors = torch.linalg.eigh(self.covariance)
        return (vectors * values.clamp(min=0).sqrt()) @ vectors.T

    @property
    def variance(self) -> Tensor:
        """The sum of the variances of all features, a scalar."""
        return self.covariance.trace()


@dataclass(frozen=True)
class LowRankStatistics:
    """The statistics of fewer samples than features, without their covariance [D, D].

    Args:
        size: Number of samples N.
        mean: Their mean [D], float64.
        factor: Their differences from it, divided by √(N - 1): F [N, D], so that the covariance is Fᵀ F.
    """

    size: int
    mean: Tensor
    factor: Tensor

    @property
    def covariance(self) -> Tensor:
        """The covariance [D, D]."""
        return self.factor.T @ self.factor

    @property
    def variance(self) -> Tensor:
        """The sum of the variances of all features, a scalar."""
        return self.factor.square().sum()


Statistics = GaussianStatistics | LowRankStatistics


def gaussian_statistics(features: Tensor) -> Statistics:
    """Statistics of features [N, D], of low rank for N <= D; raises ValueError for N < 2."""
    if len(features) < 2:
        raise ValueError(f"a covariance requires at least 2 images, got {len(features)}")
    if len(features) <= features.shape[1]:
        values = to_float64(features)
        mean = values.mean(dim=0)
        return LowRankStatistics(len(values), mean, (values - mean) / (len(values) - 1) ** 0.5)
    parts, n = features.split(10_000), len(features)  # in float64 one by one
    mean = torch.stack([to_float64(part).sum(dim=0) for part in parts]).sum(dim=0) / n
    scatter = sum((centered.T @ centered for centered in (to_float64(part) - mean for part in parts)), torch.zeros(()))
    return GaussianStatistics(n, mean, scatter / (n - 1))


def half_width(drawn: Tensor) -> float:
    """Half the width of Student's 95 % interval of a normal variable with estimated standard deviation.

    Args:
        drawn: Independent samples [N] of the variable, N >= 2; for their mean, divide the half-width by √N.
    """
    from scipy.stats import t

    return float(t.ppf(0.975, len(drawn) - 1)) * float(drawn.std())


def data_hash(images: PixelRows) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of images [N, C, H, W], their shape and dtype."""
    digest = hashlib.sha256(f"{tuple(images.shape)}{images.dtype}".encode())
    for part in chunks(images):
        digest.update(part.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def cached_statistics(
    folder: Path | None, features_name: str, images: PixelRows, features: Callable[[], Tensor]
) -> Statistics:
    """The statistics of `features()`, [N, D] for `images` [N, C, H, W], cached in `folder` (None: no cache)."""
    if folder is None:
        return gaussian_statistics(features())
    path = folder / f"{features_name}-{data_hash(images)}.pt"
    if path.is_file():
        return GaussianStatistics(*torch.load(path, weights_only=True))
    statistics = gaussian_statistics(features())
    if isinstance(statistics, LowRankStatistics):  # as large as the features
        return statistics
    with suppress(OSError, RuntimeError), replacing(path) as staged:  # the figure does not need the cache
        torch.save(tuple(statistics), staged)
    return statistics
