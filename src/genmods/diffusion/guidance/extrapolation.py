"""Guidance by two denoisers: D = D0 + w (D1 - D0), on x0 and on ε alike.

The convention everywhere in genmods: w = 1 is D1 alone (no guidance), w = 0 is D0, and w > 1 goes beyond D1. (Ho and
Salimans write 1 + w for this w.)
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
    """D0 + w (D1 - D0), on x0 and on ε.

    Attributes:
        better: D1; its process is that of the result.
        worse: D0, not called where `weight` is 1.
        weight: The weight w.
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
    """Classifier-free guidance (Ho and Salimans 2022): D1 is conditional, D0 the same model without a condition."""


class Autoguidance(Extrapolation):
    """Autoguidance (Karras et al. 2024): D0 is a smaller or less trained model under the same condition as D1."""


@dataclass(frozen=True)
class Interval(Validated):
    """Guidance on an interval of noise levels (Kynkäänniemi et al. 2024): `Interval(ClassifierFree(d1, d0, w), d1, lo,
    hi)`.

    Attributes:
        inside: The denoiser where lo < σ/α <= hi; not called elsewhere.
        outside: The denoiser elsewhere.
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
