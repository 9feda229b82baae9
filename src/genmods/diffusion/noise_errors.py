"""Denoising errors of single images at fixed noise levels, a description of an image by a model."""

from __future__ import annotations

import torch
from torch import Tensor

from genmods.core.devices import float64_device, to_float64
from genmods.core.random import fold
from genmods.diffusion.denoiser import Denoise
from genmods.diffusion.noise import noise_stream

SEED = 0
"""The seed of the noise, so that errors are reproducible."""


@torch.no_grad()
def errors_by_level(
    denoiser: Denoise, x0: Tensor, log_snr: Tensor, draws: int = 1, indices: Tensor | None = None
) -> Tensor:
    """The mean squared error of ε over the dimensions of each image, by noise level.

    Args:
        denoiser: The model.
        x0: Images [B, ...].
        log_snr: Log-SNRs [K].
        draws: Number of noise draws per level, over which the error is averaged.
        indices: Int64 [B], by default 0 to B - 1. The noise of image i depends on `indices[i]` only.

    Returns:
        Errors [B, K], float64.
    """
    indices = torch.arange(len(x0), device=x0.device) if indices is None else indices.to(x0.device)
    times = denoiser.process.time(log_snr.to(float64_device(x0.device), torch.float64))
    columns = []
    for level, t in enumerate(times):
        total = torch.zeros(len(x0), dtype=torch.float64, device=float64_device(x0.device))
        for draw in range(draws):
            keys = fold(indices, level)
            eps = noise_stream(SEED, keys, tuple(x0.shape[1:]), x0.device, x0.dtype)(draw)
            estimate = denoiser(denoiser.process.diffuse(x0, eps, t.expand(len(x0))), t.expand(len(x0)))
            total += to_float64((estimate.eps - eps).square()).flatten(1).mean(1)
        columns.append(total / draws)
    return torch.stack(columns, dim=1)
