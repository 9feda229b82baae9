"""DDNM+ (Wang et al. 2023, section 3.3) for noisy measurements, with the network's ε.

Along each singular direction of A (singular value d) the step to s takes a fraction γ of the correction A⁺(y - A x0).
That carries noise of standard deviation γ α_s σ_y/d into x_s, which takes the place of fresh noise of the step's v:

    γ = min(1, v d/(α_s σ_y)),   fresh noise √(v² - (γ α_s σ_y/d)²),

so that x_s has the noise that the denoiser expects. With σ_y = 0 it is DDNM. Both factors are functions of A Aᵀ.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from genmods.diffusion.prediction import Estimate
from genmods.diffusion.samplers.base import Run
from genmods.restoration.methods.base import Measurement, Method, advance
from genmods.restoration.operators import reciprocal


@dataclass
class DDNMPlus(Method):
    """Null-space projection that leaves the noise of the measurement to the denoiser; for any noise level."""

    def step(self, run: Run, measurement: Measurement, x: Tensor, i: int) -> Tensor:
        operator, estimate = measurement.operator, run.estimate(x, i)
        std, carried = self.fresh(run, i), run.alpha[i + 1] * measurement.sigma_y

        def fraction(e: Tensor) -> Tensor:
            return (std * e.sqrt() / carried).clamp(max=1) if carried > 0 else (e > 0).to(e)

        def still_fresh(e: Tensor) -> Tensor:
            share = fraction(e) * carried * reciprocal(std * e.sqrt())
            return (1 - share**2).clamp(min=0).sqrt()

        solved = operator.spectral(measurement.residual(estimate.x0), lambda e: fraction(e) * reciprocal(e))
        corrected = Estimate(estimate.x0 + operator.adjoint(solved), estimate.eps)
        return advance(run, corrected, i, std, operator.filter(run.noise(i).to(x), still_fresh))
