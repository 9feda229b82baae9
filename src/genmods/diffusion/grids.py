"""Step grids: the times t_max = t_0 > t_1 > ... > t_N = t_min of a sampler with N steps.

A grid that is uniform in some coordinate f of the noise level has its N points there between t_max and the least noisy
time `t_min_trained`, and then steps to the data where `t_min` is free of noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from genmods.core.settings import Positive, Validated
from genmods.diffusion.process import NoiseProcess

NOISY_END, CLEAN_END = 10, 4
"""The ends of `LambdaGrid`: σ/α of its first point per step, and of its last point times the number of steps cubed."""

ANGLE_SHARE = 0.85
"""The share of φ, the rest being √φ, in which `AngleGrid` is uniform."""


class Grid(Validated):
    """The registry kind `grid`: the times [N + 1] of a sampler's N steps."""

    def __call__(self, process: NoiseProcess, steps: int) -> Tensor:
        """The times [N + 1] of N `steps`: float64, falling from `t_max` to `t_min`."""
        raise NotImplementedError


def time_grid(process: NoiseProcess, steps: int, grid: Grid | None = None) -> Tensor:
    """The times of `steps` steps on `grid`, or on the process' own one where it is None.

    Returns:
        Float64 times [N + 1] for N `steps`, falling from `t_max` to `t_min`, on the CPU.

    Raises:
        ValueError: If a discrete process has fewer levels than `steps`.
    """
    if process.levels is not None and steps > len(process.levels):
        raise ValueError(f"steps must be at most {len(process.levels)}, the levels of the process, got {steps}")
    process = process.on_cpu
    return process.default_grid(steps) if grid is None else grid(process, steps)


def _ending(process: NoiseProcess, log_snr: Tensor, steps: int) -> Tensor:
    """The times of rising `log_snr`, the first set to t_max, and t_min after them where they are one too few."""
    times = process.time(log_snr).detach()
    times[0] = process.t_max
    return times if len(times) > steps else torch.cat([times, torch.full_like(times[:1], process.t_min)])


def _points(process: NoiseProcess, steps: int) -> int:
    """How many points of a grid are above `t_min_trained`, inclusive."""
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
    """Times [N + 1] uniform in λ = ln(α/σ) (Lu et al. 2022, DPM-Solver), between ends that widen with N.

    The grid starts as if t_max had σ/α = `NOISY_END` N, and its last point before the data is at `CLEAN_END`/N³, both
    within the range of the process, so that few steps are spent where the image forms. The whole range is covered from
    N = 16 on for the continuous processes, and only from N = 86 on for `rectified` and for discrete `cosine`,
    whose range begins at a log-SNR of -13.5.
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
    """Times [N + 1] nearly uniform in φ = atan(σ/α), denser close to the data; the same for every process.

    With s = φ/φ_max, w s + (1 - w) √s falls uniformly, w = `ANGLE_SHARE`. Of 20 steps uniform in φ the last one starts
    at a noise of ten gray levels, and finer detail is replaced by its mean; uniform in √φ leaves too few steps to the
    noisy end.
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
