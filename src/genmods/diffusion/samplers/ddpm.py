"""DDPM ancestral sampling (Ho et al. 2020): the mean of q(x_s | x_t, x0), with one of three variances.

On a discrete process with one step per level this is DDPM exactly; with fewer steps, the respaced sampler of iDDPM.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from genmods.core.settings import Steps
from genmods.diffusion.samplers.base import Sampler, SamplerState
from genmods.diffusion.variance import interpolate


@dataclass
class DDPMSampler(Sampler):
    """Ancestral sampling; the last step adds no noise.

    Args:
        variance: The `small` or `large` fixed variance of `genmods.diffusion.variance`; replaced by the network's
            learned variance if it has one.
    """

    steps: Steps = 1000
    variance: Literal["small", "large"] = "small"

    @property
    def stochastic(self) -> bool:
        return True

    def step(self, state: SamplerState, x: Tensor, i: int) -> Tensor:
        estimate = state.estimate(x, i)
        if state.sigma[i + 1] == 0:
            return state.combine(estimate, i + 1)
        small, large = state.variances(i)
        fraction = float(self.variance == "large") if estimate.var_fraction is None else estimate.var_fraction
        stretch = interpolate(1.0, large / small, fraction) ** 0.5
        return state.advance(estimate, i, math.sqrt(small), stretch * state.noise(i).to(x))
