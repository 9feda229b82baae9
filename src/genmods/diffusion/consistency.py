"""Consistency tuning (Geng et al. 2024, "Consistency Models Made Easy").

The denoiser's x0 = f(x_t, t) is trained to be the endpoint of the probability flow through x_t, so that one call
generates a sample. In a pair of noise levels s > r (s = σ/α) with the same noise ε, f at s is trained towards f at r,
whose gradient is stopped:

    L = (√(mean of (f(x_s) - f(x_r))² over pixels + c²) - c)/(s - r),
    r = s (1 - n(s)/q^(k+1)),    n(s) = 1 + 8 S(-s),    S logistic, q = 2, in stage k = 0, 1, ...

Below the least noise of the process r is 0 and f(x_r) is x0. In the first stage r is 0 or s/2, and f is close to
E[x0 | x_t], which the model was trained for; each stage halves the gaps. `c` of the pseudo-Huber norm is that of Song
and Dhariwal (2023). The loss depends on s only and works with every process and prediction.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from genmods.core.batch import Share
from genmods.core.settings import Count, Validated
from genmods.diffusion.denoiser import Condition, Denoiser
from genmods.diffusion.densities import LogNormalDensity, TimeDensity
from genmods.diffusion.loss import Loss
from genmods.diffusion.process import per_sample

GAP_DECREASE, GAP_WIDENING, HUBER_WIDTH = 2.0, 8.0, 0.00054
"""q, the factor in n(s), and c."""


class ConsistencyLoss(Validated, nn.Module):
    """The loss of consistency tuning.

    Args:
        density: Distribution of the noisier time of a pair; by default ln(σ/α) ~ N(-1.1, 2²).
        stages: The last stage, at least 1, in which the relative gap of a pair is 2^-stages, or up to five times that
            close to the data.
        first_stage: The stage in which training begins. A later one suits short trainings of a model that was trained
            for E[x0 | x_t].

    Raises:
        ValueError: If `first_stage` is greater than `stages`.
    """

    def __init__(self, density: TimeDensity | None = None, stages: Count = 8, first_stage: Count = 1):
        super().__init__()
        if first_stage > stages:
            raise ValueError(f"first_stage must be at most stages = {stages}, got {first_stage}")
        self.density, self.stages, self.first_stage = density or LogNormalDensity(-1.1, 2.0), stages, first_stage

    def less_noise(self, s: Tensor, progress: float) -> Tensor:
        """The lower noise levels r [B] for `s` = σ/α [B] at a `progress` of training in [0, 1]."""
        count = self.stages - self.first_stage + 1
        stage = self.first_stage + min(int(progress * count), count - 1)
        gap = (1 + GAP_WIDENING * torch.sigmoid(-s)) / GAP_DECREASE**stage
        return s * (1 - gap).clamp_min(0)

    def forward(
        self,
        denoiser: Denoiser,
        x0: Tensor,
        cond: Condition | None = None,
        progress: float = 1.0,
        u: Tensor | None = None,
        eps: Tensor | None = None,
        share: Share | None = None,
    ) -> Loss:
        """The loss of a batch.

        Args:
            denoiser: The model.
            x0: Data [B, ...].
            cond: The condition of the batch.
            progress: Fraction of the training steps completed, in [0, 1], which selects the stage.
            u: Uniform numbers [B] in [0, 1) that select the times; drawn if None.
            eps: Standard normal noise [B, ...]; drawn if None.
            share: The share of a larger batch that `x0` is, if several processes compute it.

        Returns:
            The loss per sample; `error` is the mean over pixels of (f(x_s) - f(x_r))².
        """
        process = denoiser.process
        u = self.density.numbers(len(x0), x0.device, share) if u is None else u
        eps = torch.randn_like(x0) if eps is None else eps
        t = self.density(process, u).detach()
        log_snr, least = process.log_snr(t).detach(), torch.exp(-process.log_snr_ends(x0.device)[1] / 2)
        s = torch.exp(-log_snr / 2)
        r = self.less_noise(s, progress)
        r = torch.where(r < least, 0.0, r)
        with torch.no_grad(), same_draws(denoiser):
            t_r = process.time(-2 * r.clamp_min(least).log())
            target = denoiser(process.diffuse(x0, eps, t_r), t_r, cond).x0
            target = torch.where(per_sample(r, x0) > 0, target, x0)
        error = (denoiser(process.diffuse(x0, eps, t), t, cond).x0 - target).square().flatten(1).mean(1)
        norm = torch.sqrt(error + HUBER_WIDTH**2) - HUBER_WIDTH
        return Loss(norm / (s - r).to(norm), error.detach(), log_snr.to(error), t)


def same_draws(module: nn.Module) -> AbstractContextManager:
    """A context that restores torch's random state on exit if `module` has active dropout, so that the next call uses
    the same dropout mask."""
    if not any(isinstance(part, nn.Dropout) and part.p > 0 and part.training for part in module.modules()):
        return nullcontext()
    device = next(module.parameters()).device
    if device.type == "cpu":
        return torch.random.fork_rng(devices=[])
    return torch.random.fork_rng(devices=[device], device_type=device.type)
