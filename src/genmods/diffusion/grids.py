"""Sampling grids: the times t_max = t_0 > t_1 > ... > t_N = t_min of a sampler with N steps.

A grid that is uniform in some function of the noise level places its points between t_max and the least noisy trained
time `t_min_trained`; a last step to `t_min` follows if the data there are noise-free.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from genmods.core.settings import Positive, Validated
from genmods.diffusion.process import NoiseProcess

NOISY_END, CLEAN_END = 10, 4
"""The ends of `LambdaGrid`: σ/α of the first point divided by N, and of the last point times N³."""

ANGLE_SHARE = 0.85
"""Weight of φ in the coordinate in which `AngleGrid` is uniform; √φ has the remaining weight."""


class Grid(Validated):
    """The registry kind `grid`: the times [N + 1] of a sampler with N steps."""

    def __call__(self, process: NoiseProcess, steps: int) -> Tensor:
        """Times [N + 1] for N = `steps`: float64, decreasing from `t_max` to `t_min`."""
        raise NotImplementedError


def time_grid(process: NoiseProcess, steps: int, grid: Grid | None = None) -> Tensor:
    """The times of `steps` steps on `grid`, or on the default grid of the process.

    Returns:
        Float64 times [N + 1] for N = `steps`, decreasing from `t_max` to `t_min`, on the CPU.

    Raises:
        ValueError: If a discrete process has fewer levels than `steps`.
    """
    if process.levels is not None and steps > len(process.levels):
        raise ValueError(f"steps must be at most {len(process.levels)}, the levels of the process, got {steps}")
    process = process.on_cpu
    return process.default_grid(steps) if grid is None else grid(process, steps)


def _ending(process: NoiseProcess, log_snr: Tensor, steps: int) -> Tensor:
    """Times of increasing `log_snr`, with the first set to t_max, and t_min appended if one of N + 1 is missing."""
    times = process.time(log_snr).detach()
    times[0] = process.t_max
    return times if len(times) > steps else torch.cat([times, torch.full_like(times[:1], process.t_min)])


def _points(process: NoiseProcess, steps: int) -> int:
    """Number of grid points at or above `t_min_trained`."""
    return steps if process.t_min_trained > process.t_min else steps + 1


@dataclass(frozen=True)
class UniformGrid(Grid):
    """Times [N + 1] uniform in t."""

    def __call__(self, process: NoiseProcess, steps: int) -> Tensor:
        return torch.linspace(process.t_max, process.t_min, steps + 1, dtype=torch.float64)


@dataclass(frozen=True)
class QuadraticGrid(Grid):
    """Times [N + 1] uniform in √t, denser near the data (Song et al. 2021, DDIM, appendix D.2)."""

    def __call__(self, process: NoiseProcess, steps: int) -> Tensor:
        return (
            process.t_min + (process.t_max - process.t_min) * torch.linspace(1, 0, steps + 1, dtype=torch.float64) ** 2
        )


@dataclass(frozen=True)
class LambdaGrid(Grid):
    """Times [N + 1] uniform in λ = ln(α/σ) (Lu et al. 2022, DPM-Solver), between ends that depend on N.

    σ/α is at most `NOISY_END` N at the first point and `CLEAN_END`/N³ at the last one before the data, both within the
    range of the process: a few steps are concentrated where the image forms. The whole range is covered from N = 16 for
    the continuous processes, but only from N = 86 for `rectified` and for discrete `cosine`, whose range begins at a
    log-SNR of -13.5.
    """

    def __call__(self, process: NoiseProcess, steps: int) -> Tensor:
        low, high = process.log_snr_range
        last = 2 * math.log(steps**3 / CLEAN_END)
        ends = max(low, -2 * math.log(NOISY_END * steps)), min(high, last)
        points = steps if last < high else _points(process, steps)
        return _ending(process, torch.linspace(*ends, points, dtype=torch.float64), steps)


@dataclass(frozen=True)
class KarrasGrid(Grid):
    """Times [N + 1] uniform in s^(1/rho), s = σ/α (Karras et al. 2022, equation 5)."""

    rho: Positive = 7.0

    def __call__(self, process: NoiseProcess, steps: int) -> Tensor:
        first, last = (math.exp(-log_snr / 2 / self.rho) for log_snr in process.log_snr_range)
        root = torch.linspace(first, last, _points(process, steps), dtype=torch.float64)
        return _ending(process, -2 * self.rho * root.log(), steps)


@dataclass(frozen=True)
class AngleGrid(Grid):
    """Times [N + 1] nearly uniform in φ = atan(σ/α), denser close to the data; the same noise levels for every process.

    With s = φ/φ_max, w s + (1 - w) √s decreases uniformly, w = `ANGLE_SHARE`. If 20 steps were uniform in φ, the last
    one would start at a noise of ten grey levels and replace finer detail by its mean; uniform in √φ, too few steps
    would remain for high noise.
    """

    def __call__(self, process: NoiseProcess, steps: int) -> Tensor:
        noisy, clean = (math.atan(math.exp(-log_snr / 2)) for log_snr in process.log_snr_range)
        w, least = ANGLE_SHARE, clean / noisy
        last, points = w * least + (1 - w) * least**0.5, _points(process, steps)
        if last < 1 / steps:
            last, points = 1 / steps, steps
        even = torch.linspace(1, last, points, dtype=torch.float64)
        root = (torch.sqrt((1 - w) ** 2 + 4 * w * even) - (1 - w)) / (2 * w)
        return _ending(process, -2 * (noisy * root.square()).tan().log(), steps)
