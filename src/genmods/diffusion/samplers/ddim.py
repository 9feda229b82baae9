"""DDIM (Song et al. 2021): the posterior q(x_s | x_t, x0) with its variance scaled by η².

    x_s = α_s x0 + √(σ_s² - v) ε + √v z,    v = η² σ_s² (1 - SNR_t/SNR_s)

η = 0 is Euler's method for the probability flow of x/α over σ/α; η = 1 is ancestral sampling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from genmods.core.settings import Fraction
from genmods.diffusion.samplers.base import Sampler, SamplerState


@dataclass
class DDIMSampler(Sampler):
    """DDIM.

    Args:
        eta: Noise scale in [0, 1]: 0 is deterministic, 1 is ancestral sampling.
    """

    eta: Fraction = 0.0

    @property
    def stochastic(self) -> bool:
        return self.eta > 0

    def step(self, state: SamplerState, x: Tensor, i: int) -> Tensor:
        estimate = state.estimate(x, i)
        std = self.eta * math.sqrt(state.posterior_variance(i))
        return state.advance(estimate, i, std, state.noise(i)) if std > 0 else state.combine(estimate, i + 1)
