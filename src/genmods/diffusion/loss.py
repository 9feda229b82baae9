"""The training loss: a density of times, a weighting, and the error of what the network says.

    L = E_{t ~ density, ε} [ weight(t) · mean over pixels of (F(x_t, t) - target)² ]

The mean over pixels makes the loss of one sample; the batch is left to the caller. `genmods.diffusion.densities` and
`genmods.diffusion.weightings` hold the registered parts.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from genmods.diffusion.denoiser import Condition, Denoiser
from genmods.diffusion.densities import TimeDensity, UniformDensity
from genmods.diffusion.prediction import Estimate
from genmods.diffusion.process import per_sample
from genmods.diffusion.variance import bounds, interpolate, normal_kl
from genmods.diffusion.weightings import NoiseLevel, SimpleWeighting, Weighting


class Loss(NamedTuple):
    """Per sample, all [B]: the weighted loss to train on, the plain error of the output, its log-SNR and its time t."""

    per_sample: Tensor
    error: Tensor
    log_snr: Tensor
    t: Tensor


class DiffusionLoss(nn.Module):
    """The loss of a `Denoiser` on images `x0`, with times from `density` and weights from `weighting`.

    Where the network says a variance too, `hybrid` times the ELBO's term of that step is added, and only the variance
    learns from it (Nichol and Dhariwal 2021, equation 16); that takes a discrete process.
    """

    def __init__(self, density: TimeDensity | None = None, weighting: Weighting | None = None, hybrid: float = 0.001):
        super().__init__()
        if hybrid < 0:
            raise ValueError(f"hybrid={hybrid}: must not be negative")
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
    ) -> Loss:
        """The loss of `x0` [B, ...]; `u` in [0, 1) [B] chooses the times; it and `eps` are drawn where not given."""
        process, prediction = denoiser.process, denoiser.prediction
        if u is None:
            u = torch.rand(len(x0), generator=generator, device=x0.device)
        if eps is None:
            eps = torch.randn(x0.shape, generator=generator, device=x0.device, dtype=x0.dtype)
        t = self.density(process, u)
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
    """The ELBO's terms of the steps from levels `t` [B] to the ones before, in nats a pixel, times the number of
    levels.

    The last step, to the data, adds no noise and counts nothing. Raises ValueError for a continuous process: it has no
    steps.
    """
    process = denoiser.process
    if process.levels is None:
        raise ValueError("a learned variance takes a discrete process: give the process a number of steps")
    levels = len(process.levels)
    last = t < 1.5 / levels
    s = torch.where(last, t / 2, t - 1 / levels)
    alpha_s, sigma_s = process.alpha(s), process.sigma(s)
    small, large = bounds(process.alpha(t), process.sigma(t), alpha_s, sigma_s)
    shift = per_sample(alpha_s * small / sigma_s**2, x0) * (estimate.x0 - x0)
    small, large = per_sample(small, x0), per_sample(large, x0)
    kl = normal_kl(shift, small, interpolate(small, large, estimate.var_fraction))
    return torch.where(last, 0.0, kl.flatten(1).mean(1) * levels)
