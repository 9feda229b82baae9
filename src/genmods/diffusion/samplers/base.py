"""The base of samplers: the loop over a time grid, and the process' coefficients along it.

A sampler is one `step` from t_i to t_{i+1}. Where the noise is gone (σ = 0, or σ/α < `GONE` at a grid's end) or the
signal is (α = 0), coordinates such as λ = ln(α/σ) are infinite; there every solver takes the exact limit of its
first-order step, x = α x0 + σ ε.
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

GONE = 0.0015
"""σ/α at the end of a grid below which data are free of noise: a fifth of a level of 256 grey levels."""

MEMORY = 3
"""How many past grid points a sampler's state keeps."""


@dataclass
class SamplerState:
    """The state of one call of a sampler.

    Attributes:
        denoiser: The model.
        grid: The times of the grid [N + 1], float64; given on the CPU, and then on the device of x.
        noise: The noise that each step may add.
        device: Where x is.
        history: What the sampler stores by grid point, for the last `MEMORY` of them.
        process: The noise process of `denoiser`.
        grid_times, alpha, sigma, lam, ratio: t, α, σ, ln(α/σ) and σ/α along the grid, as Python floats; ln(α/σ) is
            infinite at an end that is free of noise.
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
        if self.ratio[-1] < GONE:
            self.lam[-1] = math.inf
        self.grid = self.grid.to(float64_device(device))

    def estimate(self, x: Tensor, i: int) -> Estimate:
        """The denoiser's estimate of `x` [B, ...] at grid point `i`."""
        return self.denoiser(x, self.grid[i].expand(len(x)))

    def combine(self, estimate: Estimate, i: int) -> Tensor:
        """α x0 + σ ε [B, ...] at grid point `i`: the deterministic first-order step (DDIM)."""
        return self.alpha[i] * estimate.x0 + self.sigma[i] * estimate.eps

    def variances(self, i: int) -> tuple[float, float]:
        """(β̃, β), the smallest and the largest variance of the step from grid point `i`."""
        return bounds(self.alpha[i], self.sigma[i], self.alpha[i + 1], self.sigma[i + 1])

    def posterior_variance(self, i: int) -> float:
        """β̃, the variance of q(x_s | x_t, x0) from grid point `i` to the next."""
        return self.variances(i)[0]

    def residual_std(self, i: int, std: float) -> float:
        """√(σ_s² - std²), the part of the old noise in x at grid point i + 1, beside fresh noise of `std`."""
        return math.sqrt(max(0.0, self.sigma[i + 1] ** 2 - std**2))

    def advance(self, estimate: Estimate, i: int, std: float, z: Tensor) -> Tensor:
        """x at grid point i + 1 from the estimate at `i`, with fresh noise `z` [B, ...] of standard deviation `std`:
        α_s x0 + √(σ_s² - std²) ε + std z."""
        mean = self.alpha[i + 1] * estimate.x0 + self.residual_std(i, std) * estimate.eps
        return mean + std * z.to(estimate.x0)


Step = Callable[[SamplerState, Tensor, int], Tensor]
"""(state, x [B, ...] at grid point i, i) -> x at grid point i + 1."""


@torch.no_grad()
def walk(
    step: Step, denoiser: Denoise, x: Tensor, grid: Tensor, noise: StepNoise, progress: Progress | None = None
) -> Tensor:
    """Carries `x` [B, ...] at time `grid[0]` to `grid[-1]` by `step`, `grid` float64 [N + 1]."""
    state = SamplerState(denoiser, grid.cpu(), noise, x.device)
    for i in range(len(grid) - 1):
        x = step(state, x, i)
        state.history.pop(i - MEMORY, None)
        if progress is not None:
            progress(i + 1, len(grid) - 1)
    return x


def start(process: NoiseProcess, noise: Noise) -> Tensor:
    """The start [B, ...] of sampling at `t_max`: noise of the standard deviation that x has there."""
    return process.prior_std * noise.initial()


@dataclass
class Sampler(Validated):
    """The registry kind `sampler`: a subclass defines `step`, from one time of a grid to the next.

    Args:
        steps: Number of steps, at least the sampler's order.
        grid: The times of the steps; by default the sampler's own grid, or else the process'.
    """

    own_grid: ClassVar[Grid | None] = None
    """The default grid of a sampler that does not use the process'."""

    steps: Steps = 50
    grid: Grid | None = None

    def step(self, state: SamplerState, x: Tensor, i: int) -> Tensor:
        """x at grid point i + 1.

        Args:
            state: The denoiser and the process along the grid.
            x: x [B, ...] at grid point `i`.
            i: The number of the step, from 0.
        """
        raise NotImplementedError

    def time_grid(self, process: NoiseProcess) -> Tensor:
        """The grid of this sampler on `process`: float64 [N + 1] for N steps, from `t_max` to `t_min`."""
        return time_grid(process, self.steps, self.grid or self.own_grid)

    def sample(self, denoiser: Denoise, noise: Noise, progress: Progress | None = None) -> Tensor:
        """Draws samples.

        Args:
            denoiser: The model, with its condition and guidance.
            noise: The noise of the samples, which `genmods.diffusion.noise_stream` makes.
            progress: Called as `progress(done, total)` after each step.

        Returns:
            Samples [B, ...] at `t_min`, of the shape, type and device of `noise.initial()`.

        Raises:
            ValueError: If a discrete process has fewer levels than the sampler has steps.
        """
        return self(denoiser, start(denoiser.process, noise), self.time_grid(denoiser.process), noise, progress)

    def __call__(
        self, denoiser: Denoise, x: Tensor, grid: Tensor, noise: StepNoise, progress: Progress | None = None
    ) -> Tensor:
        """Carries x from one time to another.

        Args:
            denoiser: The model, with its condition and guidance.
            x: x [B, ...] at time `grid[0]`.
            grid: Falling times [N + 1], float64.
            noise: Maps the number of a step to standard normal noise [B, ...].
            progress: Called as `progress(done, total)` after each step.

        Returns:
            x [B, ...] at time `grid[-1]`.
        """
        return walk(self.step, denoiser, x, grid, noise, progress)
