"""DPS (Chung et al. 2023, "Diffusion posterior sampling for general noisy inverse problems"): an ancestral step, then a
gradient step that reduces the residual of the estimate (algorithm 1; the gradient of the squared norm over twice the
norm),

    x_s <- x_s - ζ ∇ ‖y - A x̂0(x_t)‖.

It is defined for variance preserving x and is rescaled for other processes, by √(α² + σ²).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from genmods.core.settings import NonNegative
from genmods.diffusion.process import per_sample
from genmods.diffusion.samplers.base import SamplerState
from genmods.restoration.methods.base import Ancestral, Measurement, gradient
from genmods.restoration.operators import reciprocal


@dataclass
class DPS(Ancestral):
    """Gradient guidance with one gradient per call, designed for many steps (1,000 in the paper).

    Args:
        zeta: ζ, the size of the gradient step, at least 0.
    """

    zeta: NonNegative = 1.0

    def step(self, state: SamplerState, measurement: Measurement, x: Tensor, i: int) -> Tensor:
        estimate, vjp = gradient(state.denoiser, x, state.grid[i].expand(len(x)))
        residual = measurement.residual(estimate.x0)
        norm = per_sample(residual.flatten(1).norm(dim=1), x)
        descent = vjp(measurement.operator.adjoint(residual)) * reciprocal(norm)
        scale = self.zeta * (state.alpha[i] ** 2 + state.sigma[i] ** 2)
        return state.advance(estimate, i, self.fresh(state, i), state.noise(i)) + scale * descent
