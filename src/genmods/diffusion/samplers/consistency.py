"""Multistep consistency sampling (Song et al. 2023, algorithm 1): x0 = f(x_t, t), then new noise of the next time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from genmods.core.settings import Steps
from genmods.diffusion.grids import AngleGrid, Grid
from genmods.diffusion.samplers.base import Sampler, SamplerState


@dataclass
class ConsistencySampler(Sampler):
    """Consistency sampling, α_s f(x_t) + σ_s z, for models trained by the task `consistency`.

    Other diffusion models, whose x0 is a posterior mean, give blurred samples.

    Args:
        steps: Number of steps, usually 1 to 4.
        grid: The times of the steps; by default `angle`, whose second step of two is at σ/α = 0.8.
    """

    own_grid: ClassVar[Grid | None] = AngleGrid()
    needs_training: ClassVar[bool] = True
    steps: Steps = 2

    @property
    def stochastic(self) -> bool:
        return True

    def step(self, state: SamplerState, x: Tensor, i: int) -> Tensor:
        estimate = state.estimate(x, i)
        if state.sigma[i + 1] == 0:
            return state.combine(estimate, i + 1)
        return state.advance(estimate, i, state.sigma[i + 1], state.noise(i))
