"""The training loss (denoising score matching): a density of times, a weighting, and the error of the network output.

    L = E_{t ~ density, ε} [ weight(t) · mean over pixels of (F(x_t, t) - target)² ]

The loss is returned per sample; the caller reduces it over the batch. `genmods.diffusion.densities` and
`genmods.diffusion.weightings` contain the registered parts.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from genmods.core.batch import Share
from genmods.core.devices import float64_device
from genmods.core.image_range import check_images
from genmods.core.settings import NonNegative, Validated
from genmods.diffusion.denoiser import Condition, Denoiser
from genmods.diffusion.densities import TimeDensity, UniformDensity
from genmods.diffusion.prediction import Estimate
from genmods.diffusion.process import NoiseProcess, per_sample
from genmods.diffusion.variance import bounds, interpolate, normal_kl
from genmods.diffusion.weightings import NoiseLevel, SimpleWeighting, Weighting


class Loss(NamedTuple):
    """Per sample, all [B]: the weighted loss to train on, the unweighted error of the output, the log-SNR, the time
    t."""

    per_sample: Tensor
    error: Tensor
    log_snr: Tensor
    t: Tensor


class DiffusionLoss(Validated, nn.Module):
    """The training loss of a `Denoiser`.

    If the network also returns a variance, `hybrid` times the ELBO term of that step is added, with a gradient for the
    variance only (Nichol and Dhariwal 2021, equation 16); this requires a discrete process.

    Args:
        density: Distribution of times; uniform by default.
        weighting: Weight by noise level; 1 by default.
        hybrid: Weight of the ELBO term, at least 0.
    """

    def __init__(
        self, density: TimeDensity | None = None, weighting: Weighting | None = None, hybrid: NonNegative = 0.001
    ):
        super().__init__()
        self.density = density or UniformDensity()
        self.weighting = weighting or SimpleWeighting()
        self.hybrid = hybrid

    def forward(
        self,
        denoiser: Denoiser,
        x0: Tensor,
        cond: Condition | None = None,
        u: Tensor | None = None,
        eps: Tensor | None = None,
        generator: torch.Generator | None = None,
        share: Share | None = None,
    ) -> Loss:
        """The loss of a batch.

        Args:
            denoiser: The model.
            x0: Data [B, ...].
            cond: The condition of the batch.
            u: Uniform numbers [B] in [0, 1) that select the times; drawn if None.
            eps: Standard normal noise [B, ...]; drawn if None.
            generator: Random number generator; None for torch's global one.
            share: The share of a larger batch that `x0` is, if several processes compute it.

        Returns:
            The loss per sample, with the unweighted errors and noise levels.
        """
        self.check(denoiser.process)
        if not x0.is_floating_point() or x0.ndim == 4:
            check_images(x0, tuple("CHW"), noisy=True, finite=not torch.is_grad_enabled())
        if u is None:
            u = self.density.numbers(len(x0), x0.device, share, generator)
        if eps is None:
            eps = torch.randn(x0.shape, generator=generator, device=x0.device, dtype=x0.dtype)
        factor = torch.ones(len(x0), dtype=torch.float64, device=float64_device(x0.device))
        with denoiser.process.schedule_gradient(factor):
            loss = self._of(denoiser, x0, cond, self.density(denoiser.process, u), eps)
        factor.copy_(2 * loss.per_sample.detach())  # the gradient of E[loss²], which a learned schedule minimises
        return loss

    def check(self, process: NoiseProcess) -> None:
        """Raises ValueError if `process` is learned and cannot be trained by this loss."""
        if not any(parameter.requires_grad for parameter in process.parameters()):
            return
        if not (self.weighting.per_log_snr and isinstance(self.density, UniformDensity)):
            raise ValueError(
                f"{type(process).__name__} requires the weighting elbo or sigmoid and the density uniform or"
                f" low_discrepancy, got {type(self.weighting).__name__} and {type(self.density).__name__}"
            )

    def _of(self, denoiser: Denoiser, x0: Tensor, cond: Condition | None, t: Tensor, eps: Tensor) -> Loss:
        """The loss at times `t` [B] with the noise `eps` [B, ...]."""
        process, prediction = denoiser.process, denoiser.prediction
        x_t = process.diffuse(x0, eps, t)
        output, variance = denoiser.output(x_t, t, cond)
        error = (output - prediction.target(process, x0, eps, t)).square().flatten(1).mean(1)
        level = NoiseLevel.at(process, prediction, t, self.density)
        loss = self.weighting(level, error)
        if variance is not None and self.hybrid:
            estimate = prediction.decode(process, x_t, output.detach(), t)._replace(var_fraction=(variance + 1) / 2)
            loss = loss + self.hybrid * step_bound(denoiser, x0, estimate, t)
        return Loss(loss, error.detach(), level.log_snr.detach().to(error), t)


def step_bound(denoiser: Denoiser, x0: Tensor, estimate: Estimate, t: Tensor) -> Tensor:
    """The ELBO terms of the steps from levels `t` [B] to the previous levels.

    Args:
        denoiser: The model, with a discrete process.
        x0: Data [B, ...].
        estimate: The estimate at `t`, with a learned variance.
        t: Levels of the process [B].

    Returns:
        Nats per pixel [B], times the number of levels. 0 for the last step, to the data, which adds no noise.

    Raises:
        ValueError: If the process is continuous.
    """
    process = denoiser.process
    if process.levels is None:
        raise ValueError("a learned variance requires a discrete process: set the process' steps")
    levels = len(process.levels)
    last = t < 1.5 / levels
    s = torch.where(last, t / 2, t - 1 / levels)
    alpha_s, sigma_s = process.alpha(s), process.sigma(s)
    small, large = bounds(process.alpha(t), process.sigma(t), alpha_s, sigma_s)
    shift = per_sample(alpha_s * small / sigma_s**2, x0) * (estimate.x0 - x0)
    small, large = per_sample(small, x0), per_sample(large, x0)
    kl = normal_kl(shift, small, interpolate(small, large, estimate.var_fraction))
    return torch.where(last.to(kl.device), 0.0, kl.flatten(1).mean(1) * levels)
