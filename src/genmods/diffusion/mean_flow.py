"""Average velocities: samples in one to four steps (Geng et al. 2025, "Mean Flows for One-step Generative Modeling").

The average estimate (x0, ε) at x_t for a step from t to r is the pair on whose line x = α x0 + σ ε both x_t and the
point x_r of the probability flow through x_t lie, so that one step of first order ends exactly at x_r. At r = t it is
E[x0, ε | x_t]; at the end of the process its x0 is that of a consistency model. With z = x/(α + σ) and the time
τ = σ/(α + σ) of rectified flow, for which z = (1 - τ) x0 + τ ε, the average velocity is u = ε - x0, and

    u(z_t, t, r) = 1/(τ_t - τ_r) ∫ v dτ,    v = u + (τ_t - τ_r) du/dτ,    d/dτ along the flow with r fixed.

The loss is the regression of the right-hand side on ε - x0 ("improved mean flows", Geng et al. 2025):

    L = e/(stop(e) + c),    e = mean over pixels of (u + (τ_t - τ_r) stop(du/dτ) - (ε - x0))²,

where du/dτ is the forward-mode derivative of u in the direction of the network's v = u(z_t, t, t), so that the target
does not depend on the network. With the guidance scale w as a condition, the target is ε - x0 + (1 - 1/w)(v_w - v_0)
with v_w and the unconditional v_0 of the network; it is solved by v_0 + w (v - v_0). All of this is computed from the
estimates of a denoiser, and holds for every process and prediction.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.autograd.forward_ad import dual_level, make_dual, unpack_dual

from genmods.core.batch import Share
from genmods.core.devices import full_precision
from genmods.core.settings import Fraction, Validated
from genmods.diffusion.consistency import same_draws
from genmods.diffusion.denoiser import Condition, Denoiser
from genmods.diffusion.densities import LogNormalDensity, TimeDensity
from genmods.diffusion.loss import Loss
from genmods.diffusion.prediction import Estimate
from genmods.diffusion.process import NoiseProcess, per_sample

LEAST_ERROR = 1e-3
"""c, which limits the weight of samples with small errors."""
Scale = Annotated[float, Ge(1), Le(1000)]
"""The largest trained scale of guidance; 1 for none."""


class MeanFlowLoss(Validated, nn.Module):
    """The loss of average velocities.

    Args:
        density: Distribution of the two times of a sample; by default ln(σ/α) ~ N(-0.4, 1.6²).
        gaps: Share of the samples with different times t > r; the others, with r = t, train the velocity itself.
        max_guidance: The largest scale of guidance w, which is a condition of the network; ln w is uniform in training.
    """

    def __init__(self, density: TimeDensity | None = None, gaps: Fraction = 0.25, max_guidance: Scale = 1.0):
        super().__init__()
        self.density, self.gaps, self.max_guidance = density or LogNormalDensity(-0.4, 1.6), gaps, max_guidance

    def forward(
        self,
        denoiser: Denoiser,
        x0: Tensor,
        cond: Condition | None = None,
        null: Condition | None = None,
        u: Tensor | None = None,
        eps: Tensor | None = None,
        share: Share | None = None,
    ) -> Loss:
        """The loss of a batch.

        Args:
            denoiser: The model; its network has `two_times`, and `guided` if `max_guidance` is above 1.
            x0: Data [B, ...].
            cond: The condition of the batch.
            null: The null condition of the batch, for guidance.
            u: Uniform numbers [2, B] in [0, 1) that select the times; drawn if None.
            eps: Standard normal noise [B, ...]; drawn if None.
            share: The share of a larger batch that `x0` is, if several processes compute it.

        Returns:
            The loss per sample; `error` is e.
        """
        process, cond, apart = denoiser.process, cond or {}, round(self.gaps * len(x0))
        t, r = self.times(process, self._numbers(x0, share) if u is None else u, apart)
        eps = torch.randn_like(x0) if eps is None else eps
        x_t, target = process.diffuse(x0, eps, t), eps - x0
        if self.max_guidance > 1:
            scale = self.max_guidance ** torch.rand(len(x0), device=x0.device, dtype=x0.dtype)
            cond = cond | {"guidance": scale}
            difference = velocity(estimated(denoiser, x_t, t, cond)) - velocity(estimated(denoiser, x_t, t, null or {}))
            target = target + per_sample(1 - 1 / scale, x0) * difference
        some = {name: value[:apart] for name, value in cond.items()}
        change = velocity_change(denoiser, x_t[:apart], t[:apart], r[:apart], some)
        average = velocity(denoiser(x_t, t, cond | {"end": process.log_snr(r)}))
        error = (torch.cat([average[:apart] + change, average[apart:]]) - target).square().flatten(1).mean(1)
        return Loss(error / (error.detach() + LEAST_ERROR), error.detach(), process.log_snr(t).to(error), t)

    def times(self, process: NoiseProcess, u: Tensor, apart: int) -> tuple[Tensor, Tensor]:
        """The times t [B] and r <= t [B] for uniform numbers `u` [2, B]; r = t after the first `apart` samples."""
        t, r = (self.density(process, numbers).detach() for numbers in u)
        later, earlier = torch.maximum(t, r), torch.minimum(t, r)
        return torch.cat([later[:apart], t[apart:]]), torch.cat([earlier[:apart], t[apart:]])

    def _numbers(self, x0: Tensor, share: Share | None) -> Tensor:
        """Uniform numbers [2, B]; those of the first row in random order, since only some samples have two times."""
        first = self.density.numbers(len(x0), x0.device, share)
        order = torch.randperm(len(x0), device=first.device)
        return torch.stack([first[order], torch.rand(len(x0), device=first.device).to(first)])


def velocity(estimate: Estimate) -> Tensor:
    """dz/dτ = ε - x0 [B, ...], the velocity of rectified flow."""
    return estimate.eps - estimate.x0


@torch.no_grad()
def estimated(denoiser: Denoiser, x_t: Tensor, t: Tensor, cond: Condition) -> Estimate:
    """The estimate at `x_t` [B, ...] and `t` [B] without a gradient; the next call uses the same dropout mask."""
    with same_draws(denoiser):
        return denoiser(x_t, t, cond)


@torch.no_grad()
def velocity_change(denoiser: Denoiser, x_t: Tensor, t: Tensor, r: Tensor, cond: Condition) -> Tensor:
    """(τ_t - τ_r) du/dτ along the flow with `r` fixed, without a gradient; in float32 also under autocast.

    Args:
        denoiser: The model.
        x_t: Noisy data [B, ...].
        t, r: Times [B], `r` at most `t`.
        cond: The condition.

    Returns:
        The change, of the shape of `x_t`.
    """
    if not len(x_t):
        return x_t
    process = denoiser.process
    alpha, sigma = process.alpha(t), process.sigma(t)
    alpha_rate, sigma_rate = process.alpha_rate(t), process.sigma_rate(t)
    turn = sigma_rate * alpha - alpha_rate * sigma  # dτ/dt = turn/(α + σ)²
    gap = (sigma / (alpha + sigma) - torch.sigmoid(-process.log_snr(r) / 2)) * (alpha + sigma) ** 2 / turn
    here = estimated(denoiser, x_t, t, cond)
    along = per_sample(gap * alpha_rate, x_t) * here.x0 + per_sample(gap * sigma_rate, x_t) * here.eps
    ending = cond | {"end": process.log_snr(r)}
    with same_draws(denoiser), full_precision(x_t.device), torch.compiler.set_stance("force_eager"), dual_level():
        average = velocity(denoiser(make_dual(x_t, along), make_dual(t, gap), ending))
        change = unpack_dual(average).tangent
    return torch.zeros_like(x_t) if change is None else change  # None: independent of x_t and t
