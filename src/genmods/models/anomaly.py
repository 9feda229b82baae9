"""How unusual an image is for a diffusion model: its denoising errors compared with those of reference images.

The likelihood alone is misleading, since simpler images than those of the training often have a higher one (Nalisnick
et al. 2019). The errors e_k at K noise levels describe an image at as many scales (Mahmood et al. 2021); the score is
the squared Mahalanobis distance of ln e from the mean over the reference images, in which errors that are too small
count as much as errors that are too large. For normally distributed ln e it has a χ² distribution with K degrees of
freedom.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Ge, Le
from torch import Tensor

from genmods.core.errors import UserError
from genmods.core.image_range import check_images
from genmods.core.settings import Count, Validated
from genmods.diffusion.noise_errors import errors_by_level
from genmods.models.abilities import Denoises
from genmods.models.diffusion import DiffusionModel

LOG_SNR_RANGE = (-6.0, 8.0)
"""The log-SNRs of the noise levels; beyond, the error is nearly the same for all images."""


@dataclass
class NoiseErrors(Validated):
    """Describes images by the logarithm of their denoising errors at several noise levels.

    Args:
        model: A diffusion model of pixels, such as the result of `genmods.load`.
        levels: Number K of noise levels, uniform in the log-SNR.
        draws: Noise draws per level, one network call each.

    Raises:
        UserError: If the model is not a diffusion model of pixels.
    """

    model: Any
    levels: Annotated[int, Ge(2), Le(100)] = 10
    draws: Count = 2

    def __post_init__(self) -> None:
        if not isinstance(self.model, Denoises):
            raise UserError(f"anomaly scores require a diffusion model, got {type(self.model).__name__}")
        self._diffusion: DiffusionModel = self.model.diffusion_model()
        if not self._diffusion.latents.is_pixels:
            raise UserError("anomaly scores require a diffusion model of pixels, got one of latents")

    @property
    def log_snr(self) -> Tensor:
        """The log-SNRs [K] of the noise levels, float64."""
        low, high = self._diffusion.process.log_snr_range
        ends = max(low, LOG_SNR_RANGE[0]), min(high, LOG_SNR_RANGE[1])
        return torch.linspace(*ends, self.levels, dtype=torch.float64)

    def __call__(self, images: Tensor, indices: Tensor | None = None) -> Tensor:
        """ln e [B, K], float64 on the CPU, of `images` [B, C, H, W] in [-1, 1] with the numbers `indices` [B]."""
        check_images(images, tuple("CHW"))
        x0 = images.to(self._diffusion.device, self._diffusion.dtype)
        denoise = self._diffusion.unconditional(len(x0))
        found = errors_by_level(denoise, x0, self.log_snr, self.draws, indices)
        return found.cpu().clamp_min(torch.finfo(torch.float32).tiny).log()


def anomaly_scores(features: Tensor, reference: Tensor) -> Tensor:
    """Squared Mahalanobis distances [N] of `features` [N, K] from the distribution of `reference` [M, K], M > K.

    Raises UserError if there are too few reference images.
    """
    if len(reference) <= reference.shape[1]:
        raise UserError(
            f"anomaly scores require more than {reference.shape[1]} reference images, one per noise level,"
            f" got {len(reference)}"
        )
    mean, covariance = reference.mean(0), torch.cov(reference.T)
    ridge = 1e-6 * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=covariance.dtype)
    offset = features - mean
    return (offset * torch.linalg.solve(covariance + ridge, offset.T).T).sum(1)
