"""Likelihoods in bits per dimension: the variational bound, and the probability flow ODE.

Data in [-1, 1] with L grey levels have bins of width 2/(L - 1), each centred on its value; a density p on [-1, 1] then
corresponds to -log2(p)/D - log2(2/(L - 1)) bits/dim.

The variational bound (Ho et al. 2020; Kingma et al. 2021), in nats, is the sum of

    prior            KL(q(x_T | x) ‖ N(0, prior_std²))
    diffusion        ½ Σ (SNR_s - SNR_t) ‖x - x̂(x_t)‖² over the steps;
                     in continuous time ½ ∫ ‖ε - ε̂(x_t)‖² d log-SNR
    reconstruction   -ln p(x | x_t) at the least noisy trained time t: per pixel a softmax over the grey levels v
                     of -(x_t - α v)²/2σ² (Kingma et al. 2021, equation 13)

Each term is a sum over the dimensions, so that the bound is the mean of a map, the bits of each pixel.

The likelihood of the probability flow (Song et al. 2021) is exact: ln p(x) = ln p_T(x_T) + ∫ ∇·(dx/dt) dt.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from genmods.core.devices import float64_device, to_float64
from genmods.core.random import fold, uniform
from genmods.diffusion.denoiser import Denoise
from genmods.diffusion.flow import flow_ends, velocity
from genmods.diffusion.noise import NoiseStream, StepNoise, noise_stream
from genmods.diffusion.process import NoiseProcess, per_sample

GOLDEN = (math.sqrt(5) - 1) / 2
"""The conjugate of the golden ratio, whose multiples mod 1 are a low-discrepancy sequence."""
SEED = 0
"""The seed of times and noise in this module, so that likelihoods are reproducible."""


class BoundTerms(NamedTuple):
    """Bits per dimension of each image, [B]: the bound and its three terms."""

    total: Tensor
    prior: Tensor
    diffusion: Tensor
    reconstruction: Tensor


def bound_bits_per_dim(
    denoiser: Denoise,
    x0: Tensor,
    gray_levels: int = 256,
    num_times: int | None = 16,
    indices: Tensor | None = None,
) -> BoundTerms:
    """Bits per dimension by the variational bound (ELBO); differentiable.

    A discrete process is bounded over its levels, a continuous one in continuous time. The times of an image are evenly
    spaced, and their offset increases by the golden ratio from one index to the next, which makes it a low-discrepancy
    sequence over the images, too.

    Args:
        denoiser: The model.
        x0: Images [B, ...] in [-1, 1], quantized to `gray_levels`.
        gray_levels: Number of values of a pixel, at least 2.
        num_times: Number of noise levels per image at which the diffusion term is estimated; None uses every level of
            a discrete process once.
        indices: Int64 [B], by default 0 to B - 1. Times and noise of image i depend on `indices[i]` only.

    Returns:
        The bound and its three terms, each [B].

    Raises:
        ValueError: If a number is out of range, or `num_times` is None and the process is continuous.
    """
    size, bits = x0[0].numel(), []
    for term in _terms(denoiser, x0, gray_levels, num_times, indices, _sum):
        bits.append(term / (size * math.log(2)))
    return BoundTerms(bits[0] + bits[1] + bits[2], *bits)


@torch.no_grad()
def bound_map(
    denoiser: Denoise,
    x0: Tensor,
    gray_levels: int = 256,
    num_times: int | None = 16,
    indices: Tensor | None = None,
) -> Tensor:
    """The bits of each pixel, float64 [B, ...]: the terms of `bound_bits_per_dim`, which is the mean over an image.

    A single value is a noisy estimate, and may be negative, since the denoiser uses the whole image. Arguments and
    errors as in `bound_bits_per_dim`.
    """
    prior, diffusion, reconstruction = _terms(denoiser, x0, gray_levels, num_times, indices, to_float64)
    return (prior + diffusion + reconstruction) / math.log(2)


def diffusion_nats(denoiser: Denoise, x0: Tensor, num_times: int = 16, indices: Tensor | None = None) -> Tensor:
    """The diffusion term of the bound in nats per image, [B], the only term that depends on the denoiser.

    For an exact denoiser it is -ln p(x0) up to terms that depend on the process and x0 only (Kong et al. 2023). Each
    noise level is used with ε and -ε, two calls, so that the part of the error that is linear in ε cancels; the rest is
    nearly the same for all denoisers, and differences between them are precise. Arguments and errors as in
    `bound_bits_per_dim`.
    """
    noise = _noise(x0, indices)
    draws: list[StepNoise] = [noise, lambda step: -noise(step)]
    pairs = (_diffusion_term(denoiser, x0, num_times, noise.indices, draw, _sum) for draw in draws)
    return sum(pairs, start=torch.zeros((), dtype=torch.float64, device=float64_device(x0.device))) / 2


Reduce = Callable[[Tensor], Tensor]
"""Maps one value per dimension [B, ...] to the result, of float64: the sum over the dimensions [B], or the values."""


def _terms(
    denoiser: Denoise,
    x0: Tensor,
    gray_levels: int,
    num_times: int | None,
    indices: Tensor | None,
    reduce: Reduce,
) -> tuple[Tensor, Tensor, Tensor]:
    """Prior, diffusion and reconstruction in nats."""
    _check_gray_levels(gray_levels)
    noise, process = _noise(x0, indices), denoiser.process
    diffusion = _diffusion_term(denoiser, x0, num_times, noise.indices, noise, reduce)
    reconstruction = _reconstruction(process, x0, noise.initial(), gray_levels)
    return reduce(_prior(process, x0)), diffusion, reduce(reconstruction)


def _noise(x0: Tensor, indices: Tensor | None) -> NoiseStream:
    indices = torch.arange(len(x0), device=x0.device) if indices is None else indices
    return noise_stream(SEED, indices, tuple(x0.shape[1:]), x0.device, x0.dtype)


def _diffusion_term(
    denoiser: Denoise, x0: Tensor, num_times: int | None, indices: Tensor, noise: StepNoise, reduce: Reduce
) -> Tensor:
    if num_times is not None and num_times < 1:
        raise ValueError(f"num_times must be at least 1, or None for every noise level; got {num_times}")
    grid = denoiser.process.levels
    if grid is None and num_times is None:
        raise ValueError("num_times must be a number for a continuous process, got None")
    count = len(grid) - 1 if num_times is None and grid is not None else num_times or 1
    start = torch.zeros(len(x0), dtype=torch.float64, device=float64_device(x0.device))
    if num_times is not None:
        start += uniform(fold(SEED, -2)[None], 1).item() + GOLDEN * to_float64(indices)
    parts = (reduce(_diffusion(denoiser, x0, noise(k), (start + k / count) % 1, grid)) for k in range(count))
    return sum(parts, start=torch.zeros((), dtype=torch.float64, device=start.device)) / count


def _check_gray_levels(gray_levels: int) -> None:
    if gray_levels < 2:
        raise ValueError(f"gray_levels must be at least 2, got {gray_levels}")


def _sum(x: Tensor) -> Tensor:
    return to_float64(x).flatten(1).sum(1)


def _diffusion(denoiser: Denoise, x0: Tensor, eps: Tensor, u: Tensor, grid: Tensor | None) -> Tensor:
    """One unbiased estimate of the diffusion term, nats [B, ...], at the times selected by u in [0, 1) [B]."""
    process = denoiser.process
    if grid is None:
        t, fall = process.likelihood_times(u)
        return _weighted(0.5 * fall, (denoiser(process.diffuse(x0, eps, t), t).eps - eps).square())
    step = (u * (len(grid) - 1) + 1e-9).long()
    s, t = grid.to(u.device)[step], grid.to(u.device)[step + 1]
    error = (denoiser(process.diffuse(x0, eps, t), t).x0 - x0).square()
    return _weighted(0.5 * (len(grid) - 1) * (process.log_snr(s).exp() - process.log_snr(t).exp()), error)


def _weighted(weight: Tensor, error: Tensor) -> Tensor:
    return per_sample(weight, to_float64(error)) * to_float64(error)


def _prior(process: NoiseProcess, x0: Tensor) -> Tensor:
    t = torch.full((len(x0),), process.t_max, dtype=torch.float64, device=float64_device(x0.device))
    alpha, sigma = process.alpha(t), process.sigma(t)
    scale = torch.hypot(alpha, sigma)
    alpha, sigma = alpha / scale, sigma / scale
    square = to_float64(x0.square())
    return 0.5 * (_weighted(alpha.square(), square) + per_sample(sigma.square() - 1 - 2 * sigma.log(), square))


def _reconstruction(process: NoiseProcess, x0: Tensor, eps: Tensor, gray_levels: int) -> Tensor:
    t = torch.full((len(x0),), process.t_min_trained, dtype=torch.float64, device=float64_device(x0.device))
    alpha, sigma = per_sample(process.alpha(t), x0), per_sample(process.sigma(t), x0)
    values = torch.linspace(-1, 1, gray_levels, dtype=x0.dtype, device=x0.device)
    true = ((x0 + 1) * (gray_levels - 1) / 2).round().long()
    terms = []
    for z, a, s, index in zip(process.diffuse(x0, eps, t), alpha, sigma, true, strict=True):
        log_prob = (-((z[..., None] - a[..., None] * values) / s[..., None]).square() / 2).log_softmax(-1)
        terms.append(-to_float64(log_prob.gather(-1, index[..., None]).squeeze(-1)))
    return torch.stack(terms)


@torch.no_grad()
def flow_bits_per_dim(
    denoiser: Denoise,
    x0: Tensor,
    gray_levels: int | None = 256,
    steps: int = 64,
    probes: int | None = 1,
    indices: Tensor | None = None,
) -> Tensor:
    """Bits per dimension by the probability flow ODE (Song et al. 2021), from `t_min_trained` to `t_max`, or to
    the log-SNR -`LOG_SNR_LIMIT`.

    Images are dequantized with uniform noise of one bin. The ODE is solved by the classical Runge-Kutta method with
    steps uniform in the log-SNR, with four calls of the denoiser per step.

    Args:
        denoiser: The model.
        x0: Images [B, ...] in [-1, 1].
        gray_levels: Number of values of a pixel, at least 2; None for continuous data, for which the -log2 density per
            dimension is returned.
        steps: Number of Runge-Kutta steps.
        probes: Number of Rademacher vectors for Hutchinson's estimate of the divergence; None computes it exactly, with
            one backward pass per dimension.
        indices: Int64 [B], by default 0 to B - 1. The noise of image i depends on `indices[i]` only.

    Returns:
        Bits per dimension [B].

    Raises:
        ValueError: If a number is out of range.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if probes is not None and probes < 1:
        raise ValueError(f"probes must be at least 1, or None for the exact divergence; got {probes}")
    indices = torch.arange(len(x0), device=x0.device) if indices is None else indices
    process, size, width = denoiser.process, x0[0].numel(), 1.0
    if gray_levels is not None:
        _check_gray_levels(gray_levels)
        width = 2 / (gray_levels - 1)
        x0 = x0 + width * (uniform(fold(SEED, indices, -2), size).view_as(x0).to(x0) - 0.5)
    alpha, scale = flow_ends(process)
    x = alpha * x0
    log_det = torch.full((len(x0),), size * math.log(alpha), dtype=torch.float64, device=float64_device(x0.device))
    low, high = process.log_snr_range
    h = (low - high) / steps
    flow = _Flow(denoiser, _probes(indices, x0, probes))
    for k in range(steps):
        x, change = flow.step(x, high + k * h, h)
        log_det = log_det + change
    log_prior = -_sum(x.square()) / (2 * scale**2) - size * math.log(scale * math.sqrt(2 * math.pi))
    return -(log_prior + log_det) / (size * math.log(2)) - math.log2(width)


def _probes(indices: Tensor, x0: Tensor, probes: int | None) -> list[Tensor]:
    """Rademacher vectors of the shape of `x0`, or for None the unit vectors, whose quadratic forms sum to the trace."""
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
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            value = velocity(self.denoiser, x, log_snr)
            divergence = torch.zeros(len(x), dtype=torch.float64, device=float64_device(x.device))
            for probe in self.probes:
                (gradient,) = torch.autograd.grad(value, x, probe, retain_graph=probe is not self.probes[-1])
                divergence = divergence + _sum(gradient * probe)
        return value.detach(), divergence

    def step(self, x: Tensor, log_snr: float, h: float) -> tuple[Tensor, Tensor]:
        """One Runge-Kutta step: the new x, and the integral of the divergence."""
        k1, d1 = self.velocity(x, log_snr)
        k2, d2 = self.velocity(x + h / 2 * k1, log_snr + h / 2)
        k3, d3 = self.velocity(x + h / 2 * k2, log_snr + h / 2)
        k4, d4 = self.velocity(x + h * k3, log_snr + h)
        return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
