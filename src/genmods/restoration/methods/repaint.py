"""RePaint (Lugmayr et al. 2022): replacement with resampling. After each step from t to s, x_s is diffused back to t
and the step is repeated, so that the filled part becomes consistent with the known one:

    x_t = (α_t/α_s) x_s + √(σ_t² - (α_t σ_s/α_s)²) n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import MultipleOf
from torch import Tensor

from genmods.core.settings import Count, Steps
from genmods.diffusion.grids import time_grid
from genmods.diffusion.process import NoiseProcess
from genmods.diffusion.samplers.base import SamplerState
from genmods.restoration.methods.base import Measurement
from genmods.restoration.methods.replacement import Replacement


@dataclass
class RePaint(Replacement):
    """Replacement with every step repeated.

    Args:
        resamples: Number of times each step is taken, at least 1; `steps` counts all network calls and must be a
            multiple of it.
    """

    steps: Annotated[Steps, MultipleOf("resamples")] = 20
    resamples: Count = 4

    def time_grid(self, process: NoiseProcess) -> Tensor:
        """Float64 times [N + 1] of N steps, of which `steps` decrease and the others increase the time."""
        once = time_grid(process, self.steps // self.resamples, self.grid)
        down = torch.stack([once[:-1], once[1:]], dim=1).repeat(1, self.resamples).flatten()
        return torch.cat([down[:1], down[1:][down.diff() != 0]])

    def step(self, state: SamplerState, measurement: Measurement, x: Tensor, i: int) -> Tensor:
        if state.grid_times[i + 1] < state.grid_times[i]:
            return super().step(state, measurement, x, i)
        ratio = state.alpha[i + 1] / state.alpha[i]
        std = math.sqrt(state.sigma[i + 1] ** 2 - (ratio * state.sigma[i]) ** 2)
        return ratio * x + std * state.noise(i).to(x)
