"""The samplers of EDM (Karras et al. 2022, algorithm 2): the probability flow of z = x/α over s = σ/α, where dz/ds = ε.

Churn first increases the noise from s to ŝ = s (1 + min(churn/N, √2 - 1)). An Euler step is α x0 + σ ε; Heun's method
calls the denoiser a second time at the end of the step and uses the mean of both slopes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from genmods.core.settings import NonNegative
from genmods.diffusion.samplers.base import Sampler, SamplerState


@dataclass
class EulerSampler(Sampler):
    """Euler's method over s = σ/α: first order, one call per step; without churn identical to DDIM with η = 0.

    Args:
        churn: S_churn, at least 0. Unlike in algorithm 2, the noise is never increased above the first s of the grid.
        churn_min: S_min, the lowest s at which noise is added.
        churn_max: S_max, the highest s at which noise is added; None for no limit.
        churn_noise: S_noise, the standard deviation of the added noise.
    """

    churn: NonNegative = 0.0
    churn_min: NonNegative = 0.0
    churn_max: Annotated[float, Ge("churn_min")] | None = None
    churn_noise: NonNegative = 1.0

    @property
    def stochastic(self) -> bool:
        return self.churn > 0

    def raised(self, state: SamplerState, x: Tensor, i: int) -> tuple[Tensor, Tensor, float]:
        """x_t [B, ...], its time (0-d) and its s after churn at grid point `i`."""
        ratio, time = state.ratio[i], state.grid[i]
        highest = math.inf if self.churn_max is None else self.churn_max
        if self.churn == 0 or math.isinf(ratio) or not self.churn_min <= ratio <= highest:
            return x, time, ratio
        factor = 1 + min(self.churn / (len(state.grid_times) - 1), math.sqrt(2) - 1)
        raised = min(ratio * factor, state.ratio[0])
        time = state.process.time(torch.full_like(time, -2 * math.log(raised)))
        noise = math.sqrt(raised**2 - ratio**2) * self.churn_noise * state.noise(i).to(x)
        return state.process.alpha(time).to(x) * (x / state.alpha[i] + noise), time, raised

    def step(self, state: SamplerState, x: Tensor, i: int) -> Tensor:
        x, time, _ = self.raised(state, x, i)
        return state.combine(state.denoiser(x, time.expand(x.shape[0])), i + 1)


EULER_MIN_SIGMA, EULER_MIN_DECREASE = 1.0, 4.5
"""`HeunSampler` takes an Euler step where s > `FAR` decreases by more than the factor `EULER_MIN_DECREASE`."""


@dataclass
class HeunSampler(EulerSampler):
    """Heun's method over s = σ/α, with churn: second order, two calls per step.

    A step is an Euler step, with one call, if it ends at noise-free data, starts without signal or decreases s steeply
    at a high noise level (`EULER_MIN_SIGMA`, `EULER_MIN_DECREASE`): the slope at its end then differs from that along
    the step, and the correction would leave noise of the order of s_1 (σ_data/s_2)².
    """

    def step(self, state: SamplerState, x: Tensor, i: int) -> Tensor:
        x, time, ratio = self.raised(state, x, i)
        first = state.denoiser(x, time.expand(x.shape[0]))
        x = state.combine(first, i + 1)
        if math.isinf(state.lam[i + 1]) or ratio > max(EULER_MIN_SIGMA, EULER_MIN_DECREASE * state.ratio[i + 1]):
            return x
        second = state.estimate(x, i + 1)
        return x + state.alpha[i + 1] * (state.ratio[i + 1] - ratio) / 2 * (second.eps - first.eps)
