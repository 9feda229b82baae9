"""Step grids: the times t_max = t_0 > t_1 > ... > t_N = t_min at which a sampler with N steps asks and arrives.

A grid that is uniform in some coordinate f of the noise level has its N points there between t_max and the least noisy
time `t_min_trained`, and then steps to the data where `t_min` is free of noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from genmods.diffusion.process import NoiseProcess


class Grid:
    """The registry kind `grid`: called with a process and a number of steps, it returns float64 times [steps + 1]."""

    def __call__(self, process: NoiseProcess, steps: int) -> Tensor:
        raise NotImplementedError


def time_grid(process: NoiseProcess, steps: int, grid: Grid | None = None) -> Tensor:
    """The times of `steps` steps on `grid`, or on the process' own one where it is None.

    Returns:
        Float64 times [steps + 1], falling from `t_max` to `t_min`.

    Raises:
        ValueError: If a discrete process has fewer levels than `steps`.
    """
    if process.levels is not None and steps > len(process.levels):
        raise ValueError(f"steps={steps}: the process has only {len(process.levels)} levels")
    return process.default_grid(steps) if grid is None else grid(process, steps)


def _ending(process: NoiseProcess, log_snr: Tensor, steps: int) -> Tensor:
    """The times of rising `log_snr`, made to start at t_max, and t_min behind them where they are one too few."""
    times = process.time(log_snr).detach()
    times[0] = process.t_max
    return times if len(times) > steps else torch.cat([times, torch.full_like(times[:1], process.t_min)])


def _points(process: NoiseProcess, steps: int) -> int:
    return steps if process.t_min_trained > process.t_min else steps + 1


@dataclass(frozen=True)
class UniformGrid(Grid):
    """Uniform in t."""

    def __call__(self, process: NoiseProcess, steps: int) -> Tensor:
        return torch.linspace(process.t_max, process.t_min, steps + 1, dtype=torch.float64)


@dataclass(frozen=True)
class QuadraticGrid(Grid):
    """Uniform in √t, denser near the data (Song et al. 2021, DDIM, appendix D.2)."""

    def __call__(self, process: NoiseProcess, steps: int) -> Tensor:
        return (
            process.t_min + (process.t_max - process.t_min) * torch.linspace(1, 0, steps + 1, dtype=torch.float64) ** 2
        )


@dataclass(frozen=True)
class LambdaGrid(Grid):
    """Uniform in λ = ln(α/σ) (Lu et al. 2022, DPM-Solver), between ends that the number of steps N can afford.

    From t_max the first step goes where it would go from σ/α = 10 N, and the last before the data stands at 4/N³, both
    within the range of the process: a few steps are spent where the image forms. From 16 on it is the whole range.
    """

    def __call__(self, process: NoiseProcess, steps: int) -> Tensor:
        low, high = process.log_snr_range
        last = 2 * math.log(steps**3 / 4)
        ends = max(low, -2 * math.log(10 * steps)), min(high, last)
        points = steps if last < high else _points(process, steps)
        return _ending(process, torch.linspace(*ends, points, dtype=torch.float64), steps)


@dataclass(frozen=True)
class KarrasGrid(Grid):
    """Uniform in s^(1/rho), s = σ/α (Karras et al. 2022, equation 5)."""

    rho: float = 7.0

    def __post_init__(self) -> None:
        if self.rho <= 0:
            raise ValueError(f"rho={self.rho}: must be above 0")

    def __call__(self, process: NoiseProcess, steps: int) -> Tensor:
        first, last = (math.exp(-log_snr / 2 / self.rho) for log_snr in process.log_snr_range)
        root = torch.linspace(first, last, _points(process, steps), dtype=torch.float64)
        return _ending(process, -2 * self.rho * root.log(), steps)


@dataclass(frozen=True)
class AngleGrid(Grid):
    """Nearly uniform in φ = atan(σ/α), and denser close to the data, for every process alike.

    With s = φ/φ_max, w s + (1 - w) √s falls uniformly, w = 0.85. Of 20 steps uniform in φ the last one begins at ten
    grey levels of noise and takes what is finer for its mean; uniform in √φ leaves the noise too few.
    """

    def __call__(self, process: NoiseProcess, steps: int) -> Tensor:
        noisy, clean = (math.atan(math.exp(-log_snr / 2)) for log_snr in process.log_snr_range)
        w, least = 0.85, clean / noisy
        last, points = w * least + (1 - w) * least**0.5, _points(process, steps)
        if last < 1 / steps:
            last, points = 1 / steps, steps
        even = torch.linspace(1, last, points, dtype=torch.float64)
        root = (torch.sqrt((1 - w) ** 2 + 4 * w * even) - (1 - w)) / (2 * w)
        return _ending(process, -2 * (noisy * root.square()).tan().log(), steps)
