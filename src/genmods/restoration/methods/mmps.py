"""MMPS (Rozet et al. 2024, "Learning diffusion priors from observations by expectation maximization"): p(x0 | x_t) is
taken as N(x̂0, V) with the covariance that Tweedie's formula gives, V = σ²/α ∂x̂0/∂x_t, and

    x0 <- x̂0 + V Aᵀ z,   (A V Aᵀ + σ_y² I) z = y - A x̂0,

the system solved by conjugate gradients, one vector-Jacobian product an iteration. Solved to the end it is exact for
any Gaussian prior.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from genmods.diffusion.denoiser import Denoise
from genmods.diffusion.prediction import Estimate
from genmods.diffusion.process import NoiseProcess, per_sample
from genmods.restoration.methods.base import Measurement, Method, consistent, gradient
from genmods.restoration.operators import reciprocal


def conjugate_gradients(system: Callable[[Tensor], Tensor], b: Tensor, iterations: int) -> Tensor:
    """z with system(z) ≈ b, each row of `b` [B, ...] for itself.

    A row stops when it is solved to rounding, or where the curvature is not positive (a network's Jacobian may not be).
    """

    def dot(u: Tensor, v: Tensor) -> Tensor:
        return per_sample((u * v).flatten(1).sum(1), b)

    z, residual, direction = torch.zeros_like(b), b, b
    energy = dot(b, b)
    solved = torch.finfo(b.dtype).eps ** 2 * energy
    for _ in range(iterations):
        image = system(direction)
        length = energy * reciprocal(dot(direction, image).clamp_min(0))
        z = z + length * direction
        residual = residual - length * image
        previous, energy = energy, dot(residual, residual)
        energy = torch.where(energy > solved, energy, 0.0)
        direction = residual + energy * reciprocal(previous) * direction
    return z


@dataclass
class MMPS(Method):
    """Moment matching: `iterations` of conjugate gradients a call, each a gradient, and one gradient more."""

    iterations: int = 2

    def guide(self, denoise: Denoise, process: NoiseProcess, measurement: Measurement) -> Denoise:
        operator, noise = measurement.operator, measurement.sigma_y**2

        def guided(x: Tensor, t: Tensor) -> Estimate:
            estimate, vjp = gradient(denoise, x, t)
            scale = per_sample(process.sigma(t) ** 2 / process.alpha(t), x)

            def system(v: Tensor) -> Tensor:
                return operator(scale * vjp(operator.adjoint(v))) + noise * v

            z = conjugate_gradients(system, measurement.residual(estimate.x0), self.iterations)
            return consistent(process, x, t, estimate.x0 + scale * vjp(operator.adjoint(z)))

        return guided
