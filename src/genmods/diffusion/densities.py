"""Distributions of noise levels in training: a density of t, sampled by a map of uniform numbers.

Each density also computes the density of the log-SNR, p(log-SNR) = p(t)/|d log-SNR/dt|, by which weightings per unit of
log-SNR are divided.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from genmods.core.batch import Share
from genmods.core.devices import float64_device, to_float64
from genmods.core.random import uniform
from genmods.core.settings import Positive, Validated
from genmods.diffusion.process import NoiseProcess

Device = torch.device | str | None


class TimeDensity(Validated):
    """The registry kind `density`: the distribution of times in training."""

    def numbers(
        self,
        count: int,
        device: Device = None,
        share: Share | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Uniform numbers [count] in [0, 1) that select the times of a batch; by default independent.

        Args:
            count: Number of samples.
            device: The device of the result.
            share: The share of a larger batch that the samples are, if several processes compute it.
            generator: The random number generator; None for torch's global one.
        """
        return torch.rand(count, generator=generator, device=device)

    def __call__(self, process: NoiseProcess, u: Tensor) -> Tensor:
        """Times [B], float64, for uniform numbers `u` [B] in [0, 1)."""
        raise NotImplementedError

    def log_snr_density(self, process: NoiseProcess, t: Tensor) -> Tensor:
        """The density of the log-SNR at times `t` [B]."""
        raise NotImplementedError


@dataclass(frozen=True)
class UniformDensity(TimeDensity):
    """Uniform in t: over the levels of a discrete process, or over [t_min_trained, t_max]."""

    def __call__(self, process: NoiseProcess, u: Tensor) -> Tensor:
        u = to_float64(u)
        if process.levels is not None:
            return process.levels.to(u.device)[(u * len(process.levels)).long()]
        return process.t_min_trained + (process.t_max - process.t_min_trained) * u

    def log_snr_density(self, process: NoiseProcess, t: Tensor) -> Tensor:
        span = process.t_max - (process.t_min if process.levels is not None else process.t_min_trained)
        return -1 / (process.log_snr_rate(t) * span)


@dataclass(frozen=True)
class LowDiscrepancyDensity(UniformDensity):
    """Uniform in t, with the times of a batch evenly spaced, u_i = u_0 + i/B mod 1: the same mean with less variance
    (Kingma et al. 2021, VDM, appendix I). Several processes share u_0, and each takes every `world`-th time."""

    def numbers(
        self, count: int, device: Device = None, share: Share | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        start, rank, world = super().numbers(1, device, generator=generator), 0, 1
        if share is not None:
            key = torch.full((1,), share.key, device=start.device)
            start, rank, world = uniform(key, 1)[0], share.rank, share.world
        numbers = torch.arange(count, dtype=torch.float64, device=float64_device(start.device)) * world + rank
        return (to_float64(start) + numbers / (count * world)) % 1


@dataclass(frozen=True)
class LogNormalDensity(TimeDensity):
    """ln(σ/α) ~ N(mean, std²), truncated to the range of the process (EDM: -1.2, 1.2; EDM2: -0.4, 1.0). For rectified
    flow, whose log-SNR is logistic in t, this is the logit-normal density (Esser et al. 2024)."""

    mean: float = -1.2
    std: Positive = 1.2

    def _tails(self, ends: Tensor) -> Tensor:
        """The normal distribution function [2] at the log-SNRs `ends` [2]."""
        return 0.5 * torch.erfc((ends / 2 + self.mean) / self.std / math.sqrt(2))

    def __call__(self, process: NoiseProcess, u: Tensor) -> Tensor:
        low, high = ends = process.log_snr_ends(u.device)  # tensors: numbers would synchronise the device in each step
        last, first = self._tails(ends)
        z = torch.special.ndtri(first + (last - first) * to_float64(u))
        return process.time((-2 * (self.mean + self.std * z)).clamp(low, high)).detach()

    def log_snr_density(self, process: NoiseProcess, t: Tensor) -> Tensor:
        last, first = self._tails(process.log_snr_ends(t.device))
        z = (-process.log_snr(t) / 2 - self.mean) / self.std
        return torch.exp(-z.square() / 2) / (2 * self.std * math.sqrt(2 * math.pi) * (last - first))
