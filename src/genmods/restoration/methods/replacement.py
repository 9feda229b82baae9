"""Replacement (Song et al. 2021, "Score-based generative modeling", appendix I): before each step, what is known of x_t
is overwritten by the measurement at that noise level,

    x_t <- x_t + A⁺A (α_t A⁺y + σ_t n - x_t).

The denoiser never learns that the known part is certain, so the filled part agrees with it less than it should.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from genmods.diffusion.samplers.base import SamplerState
from genmods.restoration.methods.base import Ancestral, Measurement


@dataclass
class Replacement(Ancestral):
    """Overwrites the known part of x_t before each step; for measurements without noise."""

    def step(self, state: SamplerState, measurement: Measurement, x: Tensor, i: int) -> Tensor:
        operator = measurement.operator
        known = state.alpha[i] * operator.pinv(measurement.y) + state.sigma[i] * state.noise(i).to(x)
        return super().step(state, measurement, x + operator.pinv(operator(known - x)), i)
