"""Variance exploding processes: α = 1, and σ increases from 0."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor

from genmods.core.devices import to_float64
from genmods.core.settings import Positive
from genmods.diffusion.process import NoiseProcess


class _ExplodingProcess(NoiseProcess):
    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(to_float64(t))

    def alpha_rate(self, t: Tensor) -> Tensor:
        return torch.zeros_like(to_float64(t))


class VarianceExplodingProcess(_ExplodingProcess):
    """σ² = sigma_min² (R^{2t} - 1), R = sigma_max/sigma_min, t in [0, 1]: the exact marginals of the VE SDE.

    Song et al. 2021, dx = sigma_min R^t √(2 ln R) dw: a geometric sequence of noise levels, except at t = 0 (the data).

    Args:
        sigma_min: The lowest standard deviation of the noise, above 0.
        sigma_max: The highest standard deviation of the noise, above `sigma_min`.
    """

    def __init__(self, sigma_min: Positive = 0.01, sigma_max: Annotated[float, Gt("sigma_min")] = 50.0):
        super().__init__()
        self.sigma_min, self.growth = sigma_min, 2 * math.log(sigma_max / sigma_min)
        self.t_min_trained = math.log(2) / self.growth

    def sigma(self, t: Tensor) -> Tensor:
        return self.sigma_min * torch.sqrt(torch.expm1(self.growth * to_float64(t)))

    def sigma_rate(self, t: Tensor) -> Tensor:
        return self.sigma_min**2 * self.growth / 2 * torch.exp(self.growth * to_float64(t)) / self.sigma(t)

    def time(self, log_snr: Tensor) -> Tensor:
        return torch.log1p(torch.exp(-to_float64(log_snr)) / self.sigma_min**2) / self.growth


class EDMProcess(_ExplodingProcess):
    """The process of EDM, σ(t) = t (Karras et al. 2022).

    Args:
        sigma_min: The lowest trained noise level, above 0.
        sigma_max: The highest noise level, above `sigma_min`.
        rho: Exponent of the default grid, which is uniform in σ^(1/rho) (equation 5) and ends at 0.
    """

    def __init__(
        self, sigma_min: Positive = 0.002, sigma_max: Annotated[float, Gt("sigma_min")] = 80.0, rho: Positive = 7.0
    ):
        super().__init__()
        self.t_min_trained, self.t_max, self.rho = sigma_min, sigma_max, rho

    def sigma(self, t: Tensor) -> Tensor:
        return to_float64(t)

    def sigma_rate(self, t: Tensor) -> Tensor:
        return torch.ones_like(to_float64(t))

    def time(self, log_snr: Tensor) -> Tensor:
        return torch.exp(-to_float64(log_snr) / 2)

    def default_grid(self, steps: int) -> Tensor:
        """Times [N + 1] for N = `steps` from `t_max` to 0, uniform in σ^(1/rho) down to `t_min_trained`."""
        ends = self.t_max ** (1 / self.rho), self.t_min_trained ** (1 / self.rho)
        return torch.cat([torch.linspace(*ends, steps, dtype=torch.float64) ** self.rho, torch.zeros(1).double()])
