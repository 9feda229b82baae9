"""DDIM (Song et al. 2021): the posterior q(x_s | x_t, x0) with its variance scaled by η².

    x_s = α_s x0 + √(σ_s² - v) ε + √v z,    v = η² σ_s² (1 - SNR_t/SNR_s)

η = 0 is the probability flow in x/α over σ/α by Euler's method; η = 1 is ancestral sampling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from genmods.diffusion.samplers.base import Run, Sampler


def posterior_variance(run: Run, i: int) -> float:
    """The variance σ_s² (1 - SNR_t/SNR_s) of q(x_s | x_t, x0), from grid point `i` to the next."""
    return run.sigma[i + 1] ** 2 * -math.expm1(2 * (run.lam[i] - run.lam[i + 1]))


@dataclass
class DDIM(Sampler):
    """DDIM with noise `eta` in [0, 1]: 0 is deterministic, 1 ancestral."""

    eta: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta={self.eta}: must lie in [0, 1]")

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        estimate = run.estimate(x, i)
        variance = self.eta**2 * posterior_variance(run, i)
        if variance == 0:
            return run.place(estimate, i + 1)
        mean = run.alpha[i + 1] * estimate.x0 + math.sqrt(run.sigma[i + 1] ** 2 - variance) * estimate.eps
        return mean + math.sqrt(variance) * run.noise(i).to(x)
