"""MMPS (Rozet et al. 2024, "Learning diffusion priors from observations by expectation maximization"): p(x0 | x_t) is
approximated by N(x̂0, V) with the covariance of Tweedie's formula, V = σ²/α ∂x̂0/∂x_t, and

    x0 <- x̂0 + V Aᵀ z,   (A V Aᵀ + σ_y² I) z = y - A x̂0.

The system is solved by conjugate gradients with one vector-Jacobian product per iteration, which also accumulate V Aᵀ
z. Solved to convergence, the method is exact for any Gaussian prior.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from genmods.core.settings import Count
from genmods.diffusion.denoiser import Denoise
from genmods.diffusion.prediction import Estimate, consistent
from genmods.diffusion.process import per_sample
from genmods.restoration.methods.base import Guidance, Measurement, moments
from genmods.restoration.operators import Operator, reciprocal


def update(cov: Callable[[Tensor], Tensor], operator: Operator, noise: float, b: Tensor, iterations: int) -> Tensor:
    """V Aᵀ z with (A V Aᵀ + noise I) z ≈ b, independently for each row of `b`.

    Args:
        cov: The map v -> V v, for images [B, C, H, W].
        operator: The operator A.
        noise: Variance of the measurement noise.
        b: Right-hand sides [B, ...].
        iterations: Number of conjugate gradient iterations. A row stops when it is solved to rounding, or if the
            curvature is not positive, which the Jacobian of a network does not guarantee.

    Returns:
        Images [B, C, H, W].
    """

    def dot(u: Tensor, v: Tensor) -> Tensor:
        return per_sample((u * v).flatten(1).sum(1), b)

    residual, direction = b, b
    total = torch.zeros_like(operator.adjoint(b))
    energy = dot(b, b)
    solved = torch.finfo(b.dtype).eps ** 2 * energy
    for _ in range(iterations):
        lifted = cov(operator.adjoint(direction))
        image = operator(lifted) + noise * direction
        length = energy * reciprocal(dot(direction, image).clamp_min(0))
        total = total + length * lifted
        residual = residual - length * image
        previous, energy = energy, dot(residual, residual)
        energy = torch.where(energy > solved, energy, 0.0)
        direction = residual + energy * reciprocal(previous) * direction
    return total


@dataclass
class MMPS(Guidance):
    """Moment matching posterior sampling.

    Args:
        iterations: Conjugate gradient iterations per call, at least 1, with one gradient each.
    """

    iterations: Count = 2

    def estimate(self, denoiser: Denoise, measurement: Measurement, x_t: Tensor, t: Tensor) -> Estimate:
        x0, cov = moments(denoiser, x_t, t)
        noise, residual = measurement.sigma_y**2, measurement.residual(x0)
        x0 = x0 + update(cov, measurement.operator, noise, residual, self.iterations)
        return consistent(denoiser.process, x_t, x0, t)
