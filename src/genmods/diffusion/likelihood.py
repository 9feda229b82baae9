"""Likelihoods in bits per dimension: the variational bound, and the probability flow.

Data on [-1, 1] with L grey levels have bins of width 2/(L - 1), each centred on its value; a density p on [-1, 1] then
is -log2(p)/D - log2(2/(L - 1)) bits/dim.

The bound (Ho et al. 2020; Kingma et al. 2021), in nats, is the sum of

    prior            KL( q(x_T | x) ‖ N(0, prior_std²) )
    diffusion        ½ Σ (SNR_s - SNR_t) ‖x - x̂(x_t)‖² over the steps, or ½ ∫ ‖ε - ε̂(x_t)‖² d log-SNR without steps
    reconstruction   -ln p(x | x_{t_low}),  each pixel's softmax over the levels v of -(x_t - α v)²/2σ² (VDM, equation
    13)

The flow (Song et al. 2021) is exact for its own model: ln p(x) = ln p_T(x_T) + ∫ ∇·(dx/dt) dt along it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from genmods.core.random import fold, uniform
from genmods.diffusion.denoiser import Denoise
from genmods.diffusion.noise import noise_stream
from genmods.diffusion.process import NoiseProcess, per_sample

GOLDEN = (math.sqrt(5) - 1) / 2
SEED = 0
"""Of all times and noise here: a likelihood is a measurement, the same whenever it is taken."""


class Bits(NamedTuple):
    """Bits per dimension of each image, [B]: the bound and its three terms."""

    total: Tensor
    prior: Tensor
    diffusion: Tensor
    reconstruction: Tensor


def vlb(
    denoiser: Denoise,
    x0: Tensor,
    levels: int = 256,
    draws: int | None = 16,
    indices: Tensor | None = None,
) -> Bits:
    """The variational bound of images `x0` [B, ...] on [-1, 1] with `levels` grey levels; differentiable.

    A discrete process is bounded over its own levels, a continuous one in continuous time. The diffusion term takes
    `draws` times an image, evenly spread, from a start that moves on by the golden ratio from one index to the next: a
    low-discrepancy sequence over the images too. None visits every noise level once. Times and noise of image i depend
    on `indices[i]` alone, by default its place in the batch.
    """
    _check_levels(levels)
    if draws is not None and draws < 1:
        raise ValueError(f"draws={draws}: must be at least 1, or None for every noise level")
    indices = torch.arange(len(x0), device=x0.device) if indices is None else indices.to(x0.device)
    noise = noise_stream(SEED, indices, tuple(x0.shape[1:]), x0.device, x0.dtype)
    process, grid = denoiser.process, denoiser.process.times
    if grid is None and draws is None:
        raise ValueError("draws=None visits every noise level, and a continuous process has none: give draws")
    count = len(grid) - 1 if draws is None and grid is not None else draws or 1
    start = torch.zeros(len(x0), dtype=torch.float64, device=x0.device)
    if draws is not None:
        start += uniform(fold(SEED, -2)[None], 1).item() + GOLDEN * indices.double()
    diffusion = torch.zeros(len(x0), dtype=torch.float64, device=x0.device)
    for k in range(count):
        u = (start + k / count) % 1
        diffusion = diffusion + _diffusion(denoiser, x0, noise(k), u, grid) / count
    bits = [
        term / (x0[0].numel() * math.log(2))
        for term in (_prior(process, x0), diffusion, _reconstruction(process, x0, noise.initial(), levels))
    ]
    return Bits(bits[0] + bits[1] + bits[2], *bits)


def _check_levels(levels: int) -> None:
    if levels < 2:
        raise ValueError(f"levels={levels}: images have at least 2 grey levels")


def _sum(x: Tensor) -> Tensor:
    return x.double().flatten(1).sum(1)


def _diffusion(denoiser: Denoise, x0: Tensor, eps: Tensor, u: Tensor, grid: Tensor | None) -> Tensor:
    """One draw of the diffusion term, nats [B], at the times that u in [0, 1) [B] chooses: its mean is the term."""
    process = denoiser.process
    if grid is None:
        t, fall = process.spread(u)
        return 0.5 * fall * _sum((denoiser(process.diffuse(x0, eps, t), t).eps - eps).square())
    step = (u * (len(grid) - 1) + 1e-9).long()
    s, t = grid.to(u.device)[step], grid.to(u.device)[step + 1]
    error = _sum((denoiser(process.diffuse(x0, eps, t), t).x0 - x0).square())
    return 0.5 * (len(grid) - 1) * (process.log_snr(s).exp() - process.log_snr(t).exp()) * error


def _prior(process: NoiseProcess, x0: Tensor) -> Tensor:
    t = torch.full((len(x0),), process.t_max, dtype=torch.float64, device=x0.device)
    scale = process.prior_std
    alpha, sigma = process.alpha(t) / scale, process.sigma(t) / scale
    per_pixel = sigma.square() - 1 - 2 * sigma.log()
    return 0.5 * (alpha.square() * _sum(x0.square()) + per_pixel * x0[0].numel())


def _reconstruction(process: NoiseProcess, x0: Tensor, eps: Tensor, levels: int) -> Tensor:
    t = torch.full((len(x0),), process.t_low, dtype=torch.float64, device=x0.device)
    alpha, sigma = per_sample(process.alpha(t), x0), per_sample(process.sigma(t), x0)
    values = torch.linspace(-1, 1, levels, dtype=x0.dtype, device=x0.device)
    true = ((x0 + 1) * (levels - 1) / 2).round().long()
    terms = []
    for z, a, s, index in zip(process.diffuse(x0, eps, t), alpha, sigma, true, strict=True):
        log_prob = (-((z[..., None] - a[..., None] * values) / s[..., None]).square() / 2).log_softmax(-1)
        terms.append(-log_prob.gather(-1, index[..., None]).double().sum())
    return torch.stack(terms)


@torch.no_grad()
def ode(
    denoiser: Denoise,
    x0: Tensor,
    levels: int | None = 256,
    steps: int = 64,
    probes: int | None = 1,
    indices: Tensor | None = None,
) -> Tensor:
    """Bits per dimension [B] of `x0` [B, ...] by the probability flow, from `t_low` to `t_max`.

    Images are dequantised with uniform noise of one bin; `levels` None says that the data are continuous already, and
    returns -log2 of their density per dimension. The flow takes `steps` Runge-Kutta steps of fourth order uniform in
    the log-SNR, four calls each. The divergence is Hutchinson's estimate with `probes` Rademacher vectors, or exact
    where None, at one backward pass a dimension. The noise of image i depends on `indices[i]` alone.
    """
    if steps < 1 or (probes is not None and probes < 1):
        raise ValueError(f"steps={steps}, probes={probes}: must be at least 1 (probes None: exact)")
    indices = torch.arange(len(x0), device=x0.device) if indices is None else indices
    process, size, width = denoiser.process, x0[0].numel(), 1.0
    if levels is not None:
        _check_levels(levels)
        width = 2 / (levels - 1)
        x0 = x0 + width * (uniform(fold(SEED, indices, -2), size).view_as(x0).to(x0) - 0.5)
    first = torch.full((len(x0),), process.t_low, dtype=torch.float64, device=x0.device)
    x, log_det = per_sample(process.alpha(first), x0) * x0, size * process.alpha(first).log()
    low, high = process.log_snr_range
    h = (low - high) / steps
    flow = _Flow(denoiser, _probes(indices, x0, probes))
    for k in range(steps):
        x, change = flow.step(x, high + k * h, h)
        log_det = log_det + change
    scale = process.prior_std
    log_prior = -_sum(x.square()) / (2 * scale**2) - size * math.log(scale * math.sqrt(2 * math.pi))
    return -(log_prior + log_det) / (size * math.log(2)) - math.log2(width)


def _probes(indices: Tensor, x0: Tensor, probes: int | None) -> list[Tensor]:
    """Rademacher vectors like `x0`, or without a number the unit vectors, whose quadratic forms add up to the trace."""
    if probes is None:
        basis = torch.eye(x0[0].numel(), dtype=x0.dtype, device=x0.device)
        return [unit.view_as(x0[0]).expand_as(x0) for unit in basis]
    signs = (uniform(fold(SEED, indices, k), x0[0].numel()).view_as(x0).to(x0) for k in range(probes))
    return [torch.where(sign < 0.5, -1.0, 1.0).to(x0) / math.sqrt(probes) for sign in signs]


class _Flow(NamedTuple):
    """The probability flow over the log-SNR, and the divergence of its velocity."""

    denoiser: Denoise
    probes: list[Tensor]

    def velocity(self, x: Tensor, log_snr: float) -> tuple[Tensor, Tensor]:
        """dx/dlog-SNR [B, ...] and its divergence [B]."""
        process = self.denoiser.process
        t = process.time(torch.tensor([log_snr], dtype=torch.float64, device=x.device)).expand(len(x))
        rate = process.log_snr_rate(t)
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            estimate = self.denoiser(x, t)
            alpha_rate, sigma_rate = process.alpha_rate(t) / rate, process.sigma_rate(t) / rate
            value = per_sample(alpha_rate, x) * estimate.x0 + per_sample(sigma_rate, x) * estimate.eps
            divergence = torch.zeros_like(t)
            for probe in self.probes:
                (gradient,) = torch.autograd.grad(value, x, probe, retain_graph=probe is not self.probes[-1])
                divergence = divergence + _sum(gradient * probe)
        return value.detach(), divergence

    def step(self, x: Tensor, log_snr: float, h: float) -> tuple[Tensor, Tensor]:
        """One Runge-Kutta step: x after it, and the integral of the divergence."""
        k1, d1 = self.velocity(x, log_snr)
        k2, d2 = self.velocity(x + h / 2 * k1, log_snr + h / 2)
        k3, d3 = self.velocity(x + h / 2 * k2, log_snr + h / 2)
        k4, d4 = self.velocity(x + h * k3, log_snr + h)
        return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
