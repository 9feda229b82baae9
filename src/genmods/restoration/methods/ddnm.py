"""DDNM (Wang et al. 2023, "Zero-shot image restoration using denoising diffusion null-space model"): the range-space
part of the estimate comes from the measurement, its null-space part from the network,

    x0 <- x0 + A⁺(y - A x0),   ε unchanged.

ε must be the network's: the ε that corresponds to the new x0 would cancel the correction in the next step.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from genmods.diffusion.samplers.base import SamplerState
from genmods.restoration.methods.base import Ancestral, Measurement


@dataclass
class DDNM(Ancestral):
    """Null-space projection of the estimate before each step, for noise-free measurements."""

    def step(self, state: SamplerState, measurement: Measurement, x: Tensor, i: int) -> Tensor:
        estimate = state.estimate(x, i)
        correction = measurement.operator.pinv(measurement.residual(estimate.x0))
        return state.advance(estimate._replace(x0=estimate.x0 + correction), i, self.fresh(state, i), state.noise(i))
