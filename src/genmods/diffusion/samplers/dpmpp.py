"""DPM-Solver++ multistep (Lu et al. 2022, "DPM-Solver++"): exponential integrators in λ = ln(α/σ) with x0 extrapolated.

From λ_t to λ_s = λ_t + h the probability flow is, exactly,

    x_s = σ_s/σ_t x_t + σ_s ∫ e^λ x0(λ) dλ,    and with constant x0:    x_s = σ_s/σ_t x_t + α_s (1 - e^{-h}) x0

2M replaces x0 by its linear extrapolation to the middle of the step; 3M integrates a quadratic through three estimates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge
from torch import Tensor

from genmods.core.settings import Steps
from genmods.diffusion.grids import Grid, LambdaGrid
from genmods.diffusion.samplers.base import Sampler, SamplerState


def gain(state: SamplerState, i: int) -> float:
    """α_s (1 - e^{-h}), finite even if λ is not."""
    return state.alpha[i + 1] - state.sigma[i + 1] * state.alpha[i] / state.sigma[i]


def middle(state: SamplerState, i: int) -> Tensor:
    """x0 [B, ...] extrapolated linearly to the middle of the step that starts at grid point `i`, from the estimates in
    the history; the last estimate itself in the first step and in steps that are infinite in λ."""
    h, x0 = state.lam[i + 1] - state.lam[i], state.history[i]
    if i == 0 or math.isinf(h):
        return x0
    return x0 + h / (2 * (state.lam[i] - state.lam[i - 1])) * (x0 - state.history[i - 1])


@dataclass
class DPMpp2MSampler(Sampler):
    """DPM-Solver++(2M): second order, one call per step."""

    own_grid: ClassVar[Grid | None] = LambdaGrid()
    steps: Annotated[Steps, Ge(2)] = 50

    def step(self, state: SamplerState, x: Tensor, i: int) -> Tensor:
        state.history[i] = state.estimate(x, i).x0
        return state.sigma[i + 1] / state.sigma[i] * x + gain(state, i) * middle(state, i)


@dataclass
class DPMpp2MSDESampler(DPMpp2MSampler):
    """SDE-DPM-Solver++(2M): solves the reverse SDE, with new noise in each step.

    x_s = σ_s/σ_t e^{-h} x_t + α_s (1 - e^{-2h}) x0 + σ_s √(1 - e^{-2h}) z
    """

    own_grid: ClassVar[Grid | None] = None

    @property
    def stochastic(self) -> bool:
        return True

    def step(self, state: SamplerState, x: Tensor, i: int) -> Tensor:
        state.history[i] = state.estimate(x, i).x0
        h = state.lam[i + 1] - state.lam[i]
        share = -math.expm1(-2 * h)
        x = state.sigma[i + 1] / state.sigma[i] * math.exp(-h) * x + state.alpha[i + 1] * share * middle(state, i)
        return x + state.sigma[i + 1] * math.sqrt(share) * state.noise(i).to(x) if state.sigma[i + 1] > 0 else x


@dataclass
class DPMpp3MSampler(Sampler):
    """DPM-Solver++(3M), one call per step.

    Args:
        difference: The second difference. "published", as in other libraries, lacks a factor 2, which reduces the order
            to 2. "corrected" integrates the quadratic exactly and repeats the first step, which is of first order, by
            the trapezoidal rule when x0 at its end is known: third order. With few steps "published" is often better.
    """

    own_grid: ClassVar[Grid | None] = LambdaGrid()
    steps: Annotated[Steps, Ge(3)] = 50
    difference: Literal["published", "corrected"] = "published"

    def step(self, state: SamplerState, x: Tensor, i: int) -> Tensor:
        state.history[i] = x0 = state.estimate(x, i).x0
        if i == 0:
            state.history[-1] = x
        if i == 1 and self.difference == "corrected" and math.isfinite(state.lam[0]):
            x = state.sigma[1] / state.sigma[0] * state.history[-1] + gain(state, 0) * (state.history[0] + x0) / 2
        linear = state.sigma[i + 1] / state.sigma[i] * x
        if i < 2 or math.isinf(state.lam[i + 1]) or math.isinf(state.lam[i - 2]):
            return linear + gain(state, i) * middle(state, i)
        h, h0, h1 = (state.lam[j + 1] - state.lam[j] for j in (i, i - 1, i - 2))
        near, far = (x0 - state.history[i - 1]) / h0, (state.history[i - 1] - state.history[i - 2]) / h1
        second = (near - far) / (h0 + h1)
        first = near + h0 * second
        decay, factor = math.expm1(-h), 2 if self.difference == "corrected" else 1
        curved = (decay + h) * first - (decay + h - h**2 / 2) * factor * second
        return linear + gain(state, i) * x0 + state.alpha[i + 1] * curved
