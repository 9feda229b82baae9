"""UniPC (Zhao et al. 2023): a multistep predictor, and a corrector without an additional call.

With x0 known at λ_t + r_m h, m = 1 ... q, and D_m = (x0_m - x0)/r_m, one step from λ_t to λ_s = λ_t + h is

    x_s = σ_s/σ_t x_t + α_s (1 - e^{-h}) (x0 + Σ ρ_m D_m),    Σ_m ρ_m r_m^{k-1} = k! φ_{k+1}(-h)/φ_1(-h),    k = 1 ... q

(their B2, φ_1(z) = (e^z - 1)/z, φ_{k+1}(z) = (φ_k(z) - 1/k!)/z). The predictor uses past points, all r_m < 0. When
the denoiser has been called at the predicted x_s, which the next step needs anyway, the corrector repeats the step with
that estimate as r = 1, one order higher.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from genmods.core.settings import Steps
from genmods.diffusion.grids import Grid, LambdaGrid
from genmods.diffusion.samplers.base import Sampler, SamplerState
from genmods.diffusion.samplers.dpmpp import gain


@lru_cache(maxsize=4096)
def weights(h: float, nodes: tuple[float, ...]) -> list[float]:
    """ρ for the nodes r_m; for a single node 1/2, its limit for small h, as published.

    Remembered: a loop that is traced after it was run, as for an export, has the numbers of the run.
    """
    if len(nodes) < 2:
        return [0.5] * len(nodes)
    first = -math.expm1(-h) / h
    phi, moments = first, []
    for k in range(1, len(nodes) + 1):
        phi = (1 / math.factorial(k) - phi) / h
        moments.append(math.factorial(k) * phi / first)
    powers = torch.tensor([[r**k for r in nodes] for k in range(len(nodes))], dtype=torch.float64)
    return torch.linalg.solve(powers, torch.tensor(moments, dtype=torch.float64)).tolist()


@dataclass
class UniPCSampler(Sampler):
    """UniPC, one call per step.

    Args:
        steps: Number of steps, at least the order.
        order: The order of the predictor, 2 or 3; the corrector increases the order of the sampler by one.
    """

    own_grid: ClassVar[Grid | None] = LambdaGrid()
    steps: Annotated[Steps, Ge("order")] = 50
    order: Literal[2, 3] = 2

    def step(self, state: SamplerState, x: Tensor, i: int) -> Tensor:
        x0 = state.estimate(x, i).x0
        if i > 0:
            x = self._advance(state, i - 1, x0)
        state.history[i] = x, x0
        return self._advance(state, i)

    def _advance(self, state: SamplerState, i: int, corrector: Tensor | None = None) -> Tensor:
        """x at grid point i + 1 from the history up to `i`; the corrector also uses x0 at i + 1."""
        x, x0 = state.history[i]
        h = state.lam[i + 1] - state.lam[i]
        data, nodes, slopes = x0, [], []
        if math.isfinite(h):
            for j in range(i - 1, max(i - self.order, -1), -1):
                if math.isfinite(state.lam[j]):
                    nodes.append((state.lam[j] - state.lam[i]) / h)
                    slopes.append((state.history[j][1] - x0) / nodes[-1])
            if corrector is not None:
                nodes.append(1.0)
                slopes.append(corrector - x0)
        for rho, slope in zip(weights(h, tuple(nodes)), slopes, strict=True):
            data = data + rho * slope
        return state.sigma[i + 1] / state.sigma[i] * x + gain(state, i) * data
