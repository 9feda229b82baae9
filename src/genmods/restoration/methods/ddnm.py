"""DDNM (Wang et al. 2023, "Zero-shot image restoration using denoising diffusion null-space model"): the range-space
part of the estimate is taken from the measurement, its null-space part from the network,

    x0 <- x0 + A⁺(y - A x0),   ε as the network gave it.

Keeping the network's ε is essential: the ε that the new x0 implies would cancel the correction at the next step. So
among samplers only those that step with ε as given (`uses_eps`) may follow it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from genmods.diffusion.denoiser import Denoise
from genmods.diffusion.prediction import Estimate
from genmods.diffusion.process import NoiseProcess
from genmods.diffusion.samplers.base import Sampler
from genmods.diffusion.samplers.ddim import DDIM
from genmods.restoration.methods.base import Guidance, Measurement


@dataclass
class DDNM(Guidance):
    """Null-space projection of the estimate, followed by ancestral steps; for measurements without noise."""

    needs_eps: ClassVar[bool] = True

    def follower(self) -> Sampler:
        return DDIM(self.steps, self.grid, eta=1.0)

    def guide(self, denoise: Denoise, process: NoiseProcess, measurement: Measurement) -> Denoise:
        def guided(x: Tensor, t: Tensor) -> Estimate:
            estimate = denoise(x, t)
            correction = measurement.operator.pinv(measurement.residual(estimate.x0))
            return Estimate(estimate.x0 + correction, estimate.eps)

        return guided
