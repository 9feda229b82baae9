"""Guidance with two denoisers: D = D0 + w (D1 - D0), applied to x0 and ε.

The convention of genmods: w = 1 is D1 (no guidance), w = 0 is D0, and w > 1 extrapolates beyond D1. (Ho and Salimans
write 1 + w for this w.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Gt, Le
from torch import Tensor

from genmods.core.settings import NonNegative, Validated
from genmods.diffusion.denoiser import Denoise
from genmods.diffusion.prediction import Estimate
from genmods.diffusion.process import NoiseProcess, per_sample


@dataclass(frozen=True)
class Extrapolation:
    """D0 + w (D1 - D0), for x0 and ε.

    Attributes:
        better: D1; its process is the process of the result.
        worse: D0; not called if `weight` is 1.
        weight: The guidance scale w.
    """

    better: Denoise
    worse: Denoise
    weight: float = 1.0

    @property
    def process(self) -> NoiseProcess:
        return self.better.process

    def __call__(self, x_t: Tensor, t: Tensor) -> Estimate:
        """The guided estimate at `x_t` [B, ...] and `t` [B]."""
        better = self.better(x_t, t)
        if self.weight == 1:
            return better
        worse = self.worse(x_t, t)
        x0 = worse.x0 + self.weight * (better.x0 - worse.x0)
        return better._replace(x0=x0, eps=worse.eps + self.weight * (better.eps - worse.eps))


class ClassifierFree(Extrapolation):
    """Classifier-free guidance (Ho and Salimans 2022): D1 is conditional, D0 the same model with the null condition."""


class Autoguidance(Extrapolation):
    """Autoguidance (Karras et al. 2024): D0 is a smaller or less trained model with the same condition as D1."""


@dataclass(frozen=True)
class Interval(Validated):
    """Guidance limited to an interval of noise levels (Kynkäänniemi et al. 2024):
    `Interval(ClassifierFree(d1, d0, w), d1, lo, hi)`.

    Attributes:
        inside: The denoiser for lo < σ/α <= hi; not called outside the interval.
        outside: The denoiser for all other noise levels.
        lo, hi: The interval, 0 <= lo < hi.
    """

    inside: Denoise
    outside: Denoise
    lo: NonNegative = 0.0
    hi: Annotated[float, Gt("lo"), Le(math.inf)] = math.inf

    @property
    def process(self) -> NoiseProcess:
        return self.outside.process

    def __call__(self, x_t: Tensor, t: Tensor) -> Estimate:
        """The guided estimate at `x_t` [B, ...] and `t` [B]."""
        ratio = torch.exp(-self.process.log_snr(t) / 2)
        inside = (ratio > self.lo) & (ratio <= self.hi)
        if not inside.any():
            return self.outside(x_t, t)
        guided = self.inside(x_t, t)
        if inside.all():
            return guided
        plain, mask = self.outside(x_t, t), per_sample(inside, x_t).bool()
        return guided._replace(x0=torch.where(mask, guided.x0, plain.x0), eps=torch.where(mask, guided.eps, plain.eps))
