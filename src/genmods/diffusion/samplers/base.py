"""The base class of samplers: the loop over a time grid, and the coefficients of the process along it.

A sampler is defined by one `step` from t_i to t_{i+1}. Without noise (σ = 0, or σ/α < `NOISE_FREE_RATIO` at the end of
a grid) or without signal (α = 0), coordinates such as λ = ln(α/σ) are infinite; every solver then takes the exact limit
of its first-order step, x = α x0 + σ ε.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from genmods.core.devices import float64_device
from genmods.core.progress import Progress
from genmods.core.settings import Steps, Validated
from genmods.diffusion.denoiser import Denoise
from genmods.diffusion.grids import Grid, time_grid
from genmods.diffusion.noise import Noise, StepNoise
from genmods.diffusion.prediction import Estimate
from genmods.diffusion.process import NoiseProcess
from genmods.diffusion.variance import bounds

NOISE_FREE_RATIO = 0.0015
"""σ/α at the end of a grid below which data count as noise-free: a fifth of one of 256 grey levels."""

HISTORY_LENGTH = 3
"""Number of past grid points in a sampler's history."""


@dataclass
class SamplerState:
    """The state of one sampling loop.

    Attributes:
        denoiser: The model.
        grid: The times of the grid [N + 1], float64; passed on the CPU, then moved to the device of x.
        noise: The noise that steps may add.
        device: The device of x.
        history: Values that the sampler stores by grid point, for the last `HISTORY_LENGTH` points.
        process: The noise process of `denoiser`.
        grid_times, alpha, sigma, lam, ratio: t, α, σ, ln(α/σ) and σ/α along the grid, as Python floats; ln(α/σ) is
            infinite at a noise-free end.
    """

    denoiser: Denoise
    grid: Tensor
    noise: StepNoise
    device: InitVar[torch.device]
    history: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self, device: torch.device) -> None:
        self.process: NoiseProcess = self.denoiser.process
        on_cpu = self.process.on_cpu
        log_snr = on_cpu.log_snr(self.grid)
        self.grid_times: list[float] = self.grid.tolist()
        self.alpha: list[float] = on_cpu.alpha(self.grid).tolist()
        self.sigma: list[float] = on_cpu.sigma(self.grid).tolist()
        self.lam: list[float] = (log_snr / 2).tolist()
        self.ratio: list[float] = torch.exp(-log_snr / 2).tolist()
        if self.ratio[-1] < NOISE_FREE_RATIO:
            self.lam[-1] = math.inf
        self.grid = self.grid.to(float64_device(device))

    def estimate(self, x: Tensor, i: int) -> Estimate:
        """The denoiser's estimate of `x` [B, ...] at grid point `i`."""
        return self.denoiser(x, self.grid[i].expand(x.shape[0]))

    def combine(self, estimate: Estimate, i: int) -> Tensor:
        """α x0 + σ ε [B, ...] at grid point `i`: the deterministic first-order step (DDIM)."""
        return self.alpha[i] * estimate.x0 + self.sigma[i] * estimate.eps

    def variances(self, i: int) -> tuple[float, float]:
        """(β̃, β), the smallest and the largest variance of the step that starts at grid point `i`."""
        return bounds(self.alpha[i], self.sigma[i], self.alpha[i + 1], self.sigma[i + 1])

    def posterior_variance(self, i: int) -> float:
        """β̃, the variance of q(x_s | x_t, x0) for the step that starts at grid point `i`."""
        return self.variances(i)[0]

    def residual_std(self, i: int, std: float) -> float:
        """√(σ_s² - std²), the coefficient of ε at grid point i + 1 if new noise of `std` is added."""
        return math.sqrt(max(0.0, self.sigma[i + 1] ** 2 - std**2))

    def advance(self, estimate: Estimate, i: int, std: float, z: Tensor) -> Tensor:
        """x at grid point i + 1 from the estimate at `i` and new noise `z` [B, ...] of standard deviation `std`:
        α_s x0 + √(σ_s² - std²) ε + std z."""
        mean = self.alpha[i + 1] * estimate.x0 + self.residual_std(i, std) * estimate.eps
        return mean + std * z.to(estimate.x0)


Step = Callable[[SamplerState, Tensor, int], Tensor]
"""(state, x [B, ...] at grid point i, i) -> x at grid point i + 1."""


@torch.no_grad()
def walk(
    step: Step, denoiser: Denoise, x: Tensor, grid: Tensor, noise: StepNoise, progress: Progress | None = None
) -> Tensor:
    """Integrates `x` [B, ...] from time `grid[0]` to `grid[-1]` with `step`; `grid` is float64 [N + 1]."""
    state = SamplerState(denoiser, grid.cpu(), noise, x.device)
    for i in range(len(grid) - 1):
        x = step(state, x, i)
        state.history.pop(i - HISTORY_LENGTH, None)
        if progress is not None:
            progress(i + 1, len(grid) - 1)
    return x


def start(process: NoiseProcess, noise: Noise) -> Tensor:
    """The initial x [B, ...] at `t_max`: noise with the standard deviation of x_t at that time."""
    return process.prior_std * noise.initial()


@dataclass
class Sampler(Validated):
    """The registry kind `sampler`; a subclass defines `step`, from one grid point to the next.

    Args:
        steps: Number of steps, at least the order of the sampler.
        grid: The times of the steps; by default the sampler's default grid, or that of the process.
    """

    own_grid: ClassVar[Grid | None] = None
    """The default grid; None uses that of the process."""
    needs_training: ClassVar[bool] = False
    """Whether a model must be trained for this sampler."""
    needs_average: ClassVar[bool] = False
    """Whether the steps use average velocities, for networks with `two_times`."""

    steps: Steps = 50
    grid: Grid | None = None

    @property
    def stochastic(self) -> bool:
        """Whether steps add noise, as solvers of the reverse SDE do; False for solvers of the probability flow ODE."""
        return False

    def step(self, state: SamplerState, x: Tensor, i: int) -> Tensor:
        """x at grid point i + 1.

        Args:
            state: The denoiser and the process along the grid.
            x: x_t [B, ...] at grid point `i`.
            i: The number of the step, starting at 0.
        """
        raise NotImplementedError

    def time_grid(self, process: NoiseProcess) -> Tensor:
        """The grid of this sampler for `process`: float64 [N + 1] for N steps, from `t_max` to `t_min`."""
        return time_grid(process, self.steps, self.grid or self.own_grid)

    def sample(self, denoiser: Denoise, noise: Noise, progress: Progress | None = None) -> Tensor:
        """Draws samples.

        Args:
            denoiser: The model, with its condition and guidance.
            noise: The noise of the samples, from `genmods.diffusion.noise_stream`.
            progress: Called as `progress(done, total)` after each step.

        Returns:
            Samples [B, ...] at `t_min`, with the shape, dtype and device of `noise.initial()`.

        Raises:
            ValueError: If a discrete process has fewer levels than the sampler has steps.
        """
        return self(denoiser, start(denoiser.process, noise), self.time_grid(denoiser.process), noise, progress)

    def __call__(
        self, denoiser: Denoise, x: Tensor, grid: Tensor, noise: StepNoise, progress: Progress | None = None
    ) -> Tensor:
        """Integrates x from the first to the last time of a grid.

        Args:
            denoiser: The model, with its condition and guidance.
            x: x_t [B, ...] at time `grid[0]`.
            grid: Decreasing times [N + 1], float64.
            noise: Maps a step number to standard normal noise [B, ...].
            progress: Called as `progress(done, total)` after each step.

        Returns:
            x_t [B, ...] at time `grid[-1]`.
        """
        return walk(self.step, denoiser, x, grid, noise, progress)
