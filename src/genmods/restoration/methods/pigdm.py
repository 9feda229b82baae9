"""ΠGDM (Song et al. 2023, "Pseudoinverse-guided diffusion models for inverse problems"): p(x0 | x_t) is approximated by
N(x̂0, r² I), so that the score of the likelihood is a vector-Jacobian product,

    x0 <- x̂0 + σ²/α Jᵀ Aᵀ (r² A Aᵀ + σ_y² I)⁻¹ (y - A x̂0),   r² = c² s²/(c² + s²),   s = σ/α.

r² is the posterior variance of an isotropic prior of standard deviation c, for which the method is exact; c = 1 is the
paper's choice of r² (1 - ᾱ for a variance preserving process). Algorithm 1 of the paper additionally weights the score
by r², which is not exact for an isotropic prior.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from genmods.core.settings import Positive
from genmods.diffusion.denoiser import Denoise
from genmods.diffusion.prediction import Estimate, consistent
from genmods.diffusion.process import per_sample
from genmods.restoration.methods.base import Guidance, Measurement, moments
from genmods.restoration.operators import reciprocal


@dataclass
class PiGDM(Guidance):
    """Pseudo-inverse guidance, one gradient per call.

    Args:
        prior_std: c, the standard deviation of clean pixels, above 0.
    """

    prior_std: Positive = 1.0

    def estimate(self, denoiser: Denoise, measurement: Measurement, x_t: Tensor, t: Tensor) -> Estimate:
        operator, noise, process = measurement.operator, measurement.sigma_y**2, denoiser.process
        x0, cov = moments(denoiser, x_t, t)
        alpha, sigma = per_sample(process.alpha(t), x_t), per_sample(process.sigma(t), x_t)
        r2 = (self.prior_std * sigma) ** 2 / ((self.prior_std * alpha) ** 2 + sigma**2)
        solved = operator.spectral(measurement.residual(x0), lambda e: reciprocal(r2 * e + noise))
        return consistent(process, x_t, x0 + cov(operator.adjoint(solved)), t)
