"""The probability flow ODE in the time of the process: dx/dt = α' x0 + σ' ε, the velocity of flow matching.

A two-stage step with its second stage at the fraction c is of second order if the derivatives are smooth:

    x + h ((1 - 1/2c) u(x, t) + 1/2c u(x + c h u, t + c h)),    c = 1: Heun, c = 1/2: midpoint
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from genmods.diffusion.process import NoiseProcess
from genmods.diffusion.samplers.base import Sampler, SamplerState

STAGE = {"euler": 0.0, "midpoint": 0.5, "heun": 1.0}


@dataclass
class FlowODESampler(Sampler):
    """The probability flow ODE in t, for processes with α and σ linear in t (`rectified`, `edm`).

    Other processes, whose derivatives vary or diverge, are refused: few steps would end far from the data.

    Args:
        method: "euler" (one call per step, first order), "midpoint" or "heun" (two calls, second order). The last step,
            to noise-free data, is always an Euler step, so that N steps take 2 N - 1 calls.
    """

    method: Literal["euler", "midpoint", "heun"] = "euler"

    def time_grid(self, process: NoiseProcess) -> Tensor:
        process = process.on_cpu
        t = torch.linspace(process.t_min_trained, process.t_max, 17, dtype=torch.float64)
        for rate in (process.alpha_rate(t), process.sigma_rate(t)):
            if (rate - rate[0]).abs().max() > 1e-6 * rate.abs().max():
                raise ValueError(
                    f"flow_ode requires a process that is linear in time, such as rectified or edm, got"
                    f" {type(process).__name__}; euler and heun follow the same flow on every process"
                )
        return super().time_grid(process)

    def step(self, state: SamplerState, x: Tensor, i: int) -> Tensor:
        t, h = state.grid[i], state.grid_times[i + 1] - state.grid_times[i]
        if state.sigma[i + 1] == 0:
            return state.combine(state.estimate(x, i), i + 1)
        c = STAGE[self.method]
        first = velocity(state, x, t)
        if c == 0:
            return x + h * first
        second = velocity(state, x + c * h * first, t + c * h)
        return x + h * ((1 - 0.5 / c) * first + 0.5 / c * second)


def velocity(state: SamplerState, x: Tensor, t: Tensor) -> Tensor:
    """dx/dt at `x` [B, ...] and the time `t` (0-d)."""
    estimate = state.denoiser(x, t.expand(x.shape[0]))
    return state.process.alpha_rate(t).to(x) * estimate.x0 + state.process.sigma_rate(t).to(x) * estimate.eps
