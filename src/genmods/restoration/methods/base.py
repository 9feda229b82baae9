"""Methods draw images from the posterior p(x0 | y), y = A x0 + σ_y n, with a denoiser of the prior p(x0).

There are two families. A `Guidance` turns the denoiser of the prior into an approximate denoiser of the posterior,
which any sampler can use. A `Stepping` method changes the step between two times, which by default is

    x_s = α_s x0 + √(σ_s² - v²) ε + v z,   z ~ N(0, I).

`Ancestral` methods use v² = η² σ_s² (1 - SNR_t/SNR_s) of DDIM.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from genmods.core.progress import Progress
from genmods.core.settings import Fraction, Steps, Validated
from genmods.diffusion.denoiser import Denoise, DenoiserWrapper
from genmods.diffusion.grids import AngleGrid, Grid, time_grid
from genmods.diffusion.noise import Noise
from genmods.diffusion.prediction import Estimate
from genmods.diffusion.process import NoiseProcess, per_sample
from genmods.diffusion.samplers.base import Sampler, SamplerState, start, walk
from genmods.diffusion.samplers.dpmpp import DPMpp2MSDESampler
from genmods.restoration.operators import Operator


@dataclass(frozen=True)
class Measurement:
    """A measurement y = A x0 + σ_y n of B images.

    Attributes:
        operator: The operator A.
        y: The measured values [B, ...].
        sigma_y: Standard deviation of the white noise, on the scale of images in [-1, 1].
    """

    operator: Operator
    y: Tensor
    sigma_y: float = 0.0

    def residual(self, x0: Tensor) -> Tensor:
        """y - A x0 [B, ...] for images `x0` [B, C, H, W]."""
        return self.y - self.operator(x0)


@dataclass
class Method(Validated):
    """The registry kind `method`; a subclass defines the denoiser that is called (`guide`), the step between two times
    (`step`) and the times (`time_grid`).

    Args:
        steps: Number of network calls, at least 1.
        grid: The times; by default the default grid of the method.
    """

    steps: Steps = 20
    grid: Grid | None = None

    def guide(self, denoiser: Denoise, measurement: Measurement) -> Denoise:
        """The denoiser that the steps call, made from that of the prior; by default the prior's."""
        return denoiser

    def step(self, state: SamplerState, measurement: Measurement, x: Tensor, i: int) -> Tensor:
        """x at grid point i + 1 from `x` [B, C, H, W] at grid point `i`."""
        raise NotImplementedError

    def time_grid(self, process: NoiseProcess) -> Tensor:
        """The times of N steps, float64 [N + 1]."""
        return time_grid(process, self.steps, self.grid)

    def sample(
        self, denoiser: Denoise, measurement: Measurement, noise: Noise, progress: Progress | None = None
    ) -> Tensor:
        """Draws images from the posterior of a measurement.

        Args:
            denoiser: The prior.
            measurement: The measurement of B images.
            noise: The noise of the B draws.
            progress: Called as `progress(done, total)` after each step.

        Returns:
            Images [B, C, H, W], with the dtype and device of `noise.initial()`.
        """
        process = denoiser.process

        def step(state: SamplerState, x: Tensor, i: int) -> Tensor:
            return self.step(state, measurement, x, i)

        guided = self.guide(denoiser, measurement)
        return walk(step, guided, start(process, noise), self.time_grid(process), noise, progress)


@dataclass(frozen=True)
class Guided(DenoiserWrapper):
    """The denoiser of the prior, guided towards a measurement by a `Guidance`."""

    guidance: Guidance
    measurement: Measurement

    def __call__(self, x_t: Tensor, t: Tensor) -> Estimate:
        return self.guidance.estimate(self.denoiser, self.measurement, x_t, t)


@dataclass
class Guidance(Method):
    """A method that changes the denoiser only; this base class changes nothing and draws from the prior.

    The default sampler is the second-order solver of the reverse SDE on the grid `angle`, whose draws have a spread
    closer to that of the posterior than ancestral sampling: on one example of Gaussian data (AR(1), ρ = 0.9, a hole of
    6 of 16 pixels, exact covariance) their variance in the hole is 1.11 of the true one after 20 steps and 1.01 after
    100; with ancestral sampling it is 0.77 and 0.94.

    Args:
        sampler: A sampler with steps and grid, instead of `steps` and `grid`.

    Raises:
        ValueError: If both a sampler and a grid are given.
    """

    sampler: Sampler | None = None

    def __post_init__(self) -> None:
        if self.sampler is not None and self.grid is not None:
            raise ValueError("grid must be set on the sampler, not on the method, when a sampler is given")

    @cached_property
    def follower(self) -> Sampler:
        """The sampler that is used with the guided denoiser."""
        return self.sampler or DPMpp2MSDESampler(self.steps, self.grid or AngleGrid())

    def estimate(self, denoiser: Denoise, measurement: Measurement, x_t: Tensor, t: Tensor) -> Estimate:
        """The estimate at `x_t` [B, C, H, W] and `t` [B] for the measurement, from the denoiser of the prior."""
        return denoiser(x_t, t)

    def guide(self, denoiser: Denoise, measurement: Measurement) -> Denoise:
        return Guided(denoiser, self, measurement)

    def step(self, state: SamplerState, measurement: Measurement, x: Tensor, i: int) -> Tensor:
        return self.follower.step(state, x, i)

    def time_grid(self, process: NoiseProcess) -> Tensor:
        """The times of the N steps of the sampler, float64 [N + 1]."""
        return self.follower.time_grid(process)


@dataclass
class Stepping(Method):
    """A method that changes the steps; this base class changes nothing and draws from the prior."""

    def step(self, state: SamplerState, measurement: Measurement, x: Tensor, i: int) -> Tensor:
        return state.advance(state.estimate(x, i), i, self.fresh(state, i), state.noise(i))

    def fresh(self, state: SamplerState, i: int) -> float:
        """v, the standard deviation of the noise added in step `i`."""
        raise NotImplementedError


@dataclass
class Ancestral(Stepping):
    """A method with the steps of DDIM; this base class draws from the prior.

    Args:
        eta: Noise scale in [0, 1]: 0 is deterministic, 1 is ancestral sampling.
    """

    eta: Fraction = 1.0

    def fresh(self, state: SamplerState, i: int) -> float:
        return self.eta * math.sqrt(state.posterior_variance(i))


def gradient(denoiser: Denoise, x: Tensor, t: Tensor) -> tuple[Estimate, Callable[[Tensor], Tensor]]:
    """The estimate at `x` [B, C, H, W] and `t` [B], and the vector-Jacobian product v -> Jᵀ v, J = ∂x0/∂x_t, which can
    be called repeatedly."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        estimate = denoiser(x, t)

    def vjp(v: Tensor) -> Tensor:
        return torch.autograd.grad(estimate.x0, x, v, retain_graph=True)[0]

    return Estimate(estimate.x0.detach(), estimate.eps.detach()), vjp


def moments(denoiser: Denoise, x: Tensor, t: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """E[x0 | x_t] at `x` [B, C, H, W] and `t` [B], and the map v -> Cov[x0 | x_t] v = σ²/α Jᵀ v, by Tweedie's
    formula."""
    estimate, vjp = gradient(denoiser, x, t)
    scale = per_sample(denoiser.process.tweedie(t), x)
    return estimate.x0, lambda v: scale * vjp(v)
