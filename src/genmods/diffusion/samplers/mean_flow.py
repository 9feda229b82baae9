"""Sampling by average velocities (Geng et al. 2025): a step is exact for an exact network, of whatever length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from genmods.core.errors import UserError
from genmods.core.settings import Steps
from genmods.diffusion.grids import AngleGrid, Grid
from genmods.diffusion.samplers.base import Sampler, SamplerState


@dataclass
class MeanFlowSampler(Sampler):
    """The probability flow by the average velocity of each step, for models trained by the task `mean_flow`.

    Args:
        steps: Number of steps, usually 1 to 4.
        grid: The times of the steps; by default `angle`.
    """

    own_grid: ClassVar[Grid | None] = AngleGrid()
    needs_training: ClassVar[bool] = True
    needs_average: ClassVar[bool] = True
    steps: Steps = 2

    def step(self, state: SamplerState, x: Tensor, i: int) -> Tensor:
        average = getattr(state.denoiser, "average", None)
        if average is None:
            raise UserError(
                "the sampler mean_flow has no guidance but that of its model (max_guidance); use another sampler"
            )
        t, end = (state.grid[k].expand(x.shape[0]) for k in (i, i + 1))
        return state.combine(average(x, t, end), i + 1)
