"""DiffPIR (Zhu et al. 2023, "Denoising diffusion models for plug-and-play image restoration"): half-quadratic splitting
along the sampling path. A proximal step moves the estimate towards the measurement,

    x0 <- argmin ‖y - A x‖²/σ_y² + λ/s² ‖x - x̂0‖² = x̂0 + Aᵀ(A Aᵀ + λ σ_y²/s² I)⁻¹ (y - A x̂0),   s = σ/α;

then noise is added again: a fraction ζ of its variance is new, the rest is the ε that corresponds to the new x0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from genmods.core.settings import Fraction, NonNegative
from genmods.diffusion.prediction import consistent
from genmods.diffusion.samplers.base import SamplerState
from genmods.restoration.methods.base import Measurement, Stepping
from genmods.restoration.operators import reciprocal


@dataclass
class DiffPIR(Stepping):
    """Proximal steps.

    Args:
        trust: λ, the weight of the estimate relative to the measurement, at least 0.
        zeta: ζ, the fraction of new noise in [0, 1].
    """

    trust: NonNegative = 7.0
    zeta: Fraction = 0.3

    def fresh(self, state: SamplerState, i: int) -> float:
        return math.sqrt(self.zeta) * state.sigma[i + 1]

    def step(self, state: SamplerState, measurement: Measurement, x: Tensor, i: int) -> Tensor:
        operator, x0 = measurement.operator, state.estimate(x, i).x0
        damping = self.trust * (measurement.sigma_y / state.ratio[i]) ** 2
        solved = operator.spectral(measurement.residual(x0), lambda e: reciprocal(e + damping))
        x0 = x0 + operator.adjoint(solved)
        estimate = consistent(state.process, x, x0, state.grid[i].expand(len(x)))
        return state.advance(estimate, i, self.fresh(state, i), state.noise(i))
