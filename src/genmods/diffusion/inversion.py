"""DDIM inversion (Song et al. 2021, section 4.3): the deterministic DDIM step with its direction reversed.

    x_t = α_t x0(x_s, s) + σ_t ε(x_s, s),    s < t,

which uses the estimate at s where the step back uses that at t. The difference, and with it the error of a round trip,
is of first order in the step; `genmods.diffusion.flow` inverts the same flow at fourth order.
"""

from __future__ import annotations

from torch import Tensor

from genmods.core.progress import Progress
from genmods.diffusion.denoiser import Denoise
from genmods.diffusion.grids import AngleGrid, Grid
from genmods.diffusion.samplers.base import SamplerState, walk
from genmods.diffusion.samplers.ddim import DDIMSampler


def ddim_invert(
    denoiser: Denoise, x0: Tensor, steps: int = 100, grid: Grid | None = None, progress: Progress | None = None
) -> Tensor:
    """Latents [B, ...] of data by DDIM inversion.

    Args:
        denoiser: The model, with its condition.
        x0: Data [B, ...].
        steps: Number of steps, one call of the denoiser each.
        grid: The times of the steps; by default `AngleGrid`.
        progress: Called with (steps done, total steps).

    Returns:
        x at `t_max` divided by its standard deviation for data of unit variance: the noise from which a sampler starts.

    Raises:
        ValueError: If `steps` is below 1, or a discrete process has fewer levels.
    """
    process, times = denoiser.process, _times(denoiser, steps, grid).flip(0)
    start = process.on_cpu.alpha(times[0]).item() * x0
    return walk(_away, denoiser, start, times, _no_noise, progress) / process.prior_std


def ddim_decode(
    denoiser: Denoise, latents: Tensor, steps: int = 100, grid: Grid | None = None, progress: Progress | None = None
) -> Tensor:
    """The data [B, ...] of latents [B, ...] by DDIM on the same grid as `ddim_invert`, of which it is the inverse in
    the limit of many steps."""
    process, times = denoiser.process, _times(denoiser, steps, grid)
    x = DDIMSampler(steps=steps)(denoiser, process.prior_std * latents, times, _no_noise, progress)
    return x / process.on_cpu.alpha(times[-1]).item()


def _times(denoiser: Denoise, steps: int, grid: Grid | None) -> Tensor:
    """The grid from `t_max` to the least noisy trained time, where ε is defined."""
    process = denoiser.process.on_cpu
    times = DDIMSampler(steps=steps, grid=grid or AngleGrid()).time_grid(process)
    return times.clamp(min=process.t_min_trained).unique().flip(0)


def _away(state: SamplerState, x: Tensor, i: int) -> Tensor:
    return state.combine(state.estimate(x, i), i + 1)


def _no_noise(step: int) -> Tensor:
    raise RuntimeError("a deterministic step takes no noise")
