"""Replacement (Song et al. 2021, "Score-based generative modeling", appendix I): before each step, the known part of
x_t is replaced by the measurement at that noise level,

    x_t <- x_t + A⁺A (α_t A⁺y + σ_t n - x_t).

The denoiser does not know that this part is exact, so that the filled part is less consistent with it than a posterior
sample would be.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from genmods.diffusion.samplers.base import SamplerState
from genmods.restoration.methods.base import Ancestral, Measurement


@dataclass
class Replacement(Ancestral):
    """Replaces the known part of x_t before each step, for noise-free measurements."""

    def step(self, state: SamplerState, measurement: Measurement, x: Tensor, i: int) -> Tensor:
        operator = measurement.operator
        known = state.alpha[i] * operator.pinv(measurement.y) + state.sigma[i] * state.noise(i).to(x)
        return super().step(state, measurement, x + operator.pinv(operator(known - x)), i)
