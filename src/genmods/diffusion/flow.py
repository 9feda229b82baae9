"""The probability flow ODE (Song et al. 2021) over the log-SNR λ, from images to noise and back.

    dx/dλ = (dα/dλ) x0(x, λ) + (dσ/dλ) ε(x, λ)

The map is one to one: `flow_invert` followed by `flow_decode` returns the image, up to the error of the solver, the
classical Runge-Kutta method with steps uniform in λ and four calls of the denoiser per step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genmods.core.devices import float64_device
from genmods.core.progress import Progress
from genmods.diffusion.denoiser import Denoise
from genmods.diffusion.process import NoiseProcess, per_sample


def velocity(denoiser: Denoise, x: Tensor, log_snr: float) -> Tensor:
    """dx/dλ [B, ...] of the probability flow at `x` [B, ...] and the log-SNR `log_snr`."""
    process = denoiser.process
    t = process.time(torch.tensor([log_snr], dtype=torch.float64, device=float64_device(x.device))).expand(len(x))
    rate, estimate = process.log_snr_rate(t), denoiser(x, t)
    alpha_rate, sigma_rate = process.alpha_rate(t) / rate, process.sigma_rate(t) / rate
    return per_sample(alpha_rate, x) * estimate.x0 + per_sample(sigma_rate, x) * estimate.eps


def flow_ends(process: NoiseProcess) -> tuple[float, float]:
    """α at the clean end of the flow, and √(α² + σ²) at its noisy end, which may be before `t_max`."""
    process = process.on_cpu
    ends = process.time(torch.tensor(process.log_snr_range, dtype=torch.float64)).tolist()
    first = torch.tensor(process.t_min_trained, dtype=torch.float64)
    return process.alpha(first).item(), process.truncated(ends[0]).prior_std


@torch.no_grad()
def flow_invert(denoiser: Denoise, x0: Tensor, steps: int = 32, progress: Progress | None = None) -> Tensor:
    """The latents of data under the probability flow: standard normal for data of unit variance.

    Args:
        denoiser: The model, with its condition.
        x0: Data [B, ...].
        steps: Number of Runge-Kutta steps.
        progress: Called with (steps done, total steps).

    Returns:
        Latents [B, ...], x at the noisy end divided by its standard deviation.
    """
    low, high = denoiser.process.log_snr_range
    alpha, scale = flow_ends(denoiser.process)
    return _integrated(denoiser, alpha * x0, (high, low), steps, progress) / scale


@torch.no_grad()
def flow_decode(denoiser: Denoise, latents: Tensor, steps: int = 32, progress: Progress | None = None) -> Tensor:
    """The inverse of `flow_invert`: data [B, ...] from latents [B, ...]."""
    low, high = denoiser.process.log_snr_range
    alpha, scale = flow_ends(denoiser.process)
    return _integrated(denoiser, scale * latents, (low, high), steps, progress) / alpha


def _integrated(
    denoiser: Denoise, x: Tensor, ends: tuple[float, float], steps: int, progress: Progress | None
) -> Tensor:
    """x at the second of two log-SNRs from `x` at the first."""
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    start, h = ends[0], (ends[1] - ends[0]) / steps
    for k in range(steps):
        at = start + k * h
        k1 = velocity(denoiser, x, at)
        k2 = velocity(denoiser, x + h / 2 * k1, at + h / 2)
        k3 = velocity(denoiser, x + h / 2 * k2, at + h / 2)
        k4 = velocity(denoiser, x + h * k3, at + h)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        if progress is not None:
            progress(k + 1, steps)
    return x
