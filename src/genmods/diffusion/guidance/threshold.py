"""Thresholding: x0 is kept within [-1, 1], and ε = (x_t - α x0)/σ is recomputed.

Dynamic thresholding (Saharia et al. 2022, section 2.3) clips x0 to [-m, m] and divides it by m, the larger of 1 and the
p-quantile of |x0| in each image. With p = None x0 is clipped to [-1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt, Le
from torch import Tensor

from genmods.core.devices import float64_device
from genmods.core.settings import Validated
from genmods.diffusion.denoiser import DenoiserWrapper
from genmods.diffusion.prediction import Estimate, consistent
from genmods.diffusion.process import per_sample


@dataclass(frozen=True)
class Threshold(Validated, DenoiserWrapper):
    """A denoiser with thresholded x0.

    Attributes:
        denoiser: The denoiser.
        quantile: The quantile p in (0, 1] of dynamic thresholding; None clips to [-1, 1].
    """

    quantile: Annotated[float, Gt(0), Le(1)] | None = 0.995

    def __call__(self, x_t: Tensor, t: Tensor) -> Estimate:
        """The thresholded estimate at `x_t` [B, ...] and `t` [B]."""
        estimate = self.denoiser(x_t, t)
        if self.quantile is None:
            x0 = estimate.x0.clamp(-1, 1)
        else:
            sizes = estimate.x0.flatten(1).abs().float()
            sizes = sizes.to(float64_device(sizes.device))  # `quantile` computes ranks in float64
            extent = per_sample(sizes.quantile(self.quantile, dim=1).clamp(min=1), x_t)
            x0 = estimate.x0.clamp(-extent, extent) / extent
        return consistent(self.process, x_t, x0, t)._replace(var_fraction=estimate.var_fraction)
