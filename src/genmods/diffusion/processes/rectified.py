"""Rectified flow: α = 1 - t, σ = t, a straight path from data to noise."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Gt, Le
from torch import Tensor

from genmods.core.devices import to_float64
from genmods.diffusion.process import LOG_SNR_LIMIT, NoiseProcess


class RectifiedProcess(NoiseProcess):
    """x_t = (1 - t) x0 + t ε (Liu et al. 2023; Lipman et al. 2023, with σ_min = 0 and time reversed).

    At t = 1 there is no signal (zero terminal SNR): the predictions v, flow, x0 and karras are well defined there; eps
    is not, and requires `t_max` < 1.

    Args:
        t_max: The noisiest time, at most 1, above `t_min_trained` (where the log-SNR is 13.5).
    """

    def __init__(self, t_max: Annotated[float, Gt(0.00117), Le(1)] = 1.0):
        super().__init__()
        self.t_min_trained = self.time(torch.tensor(LOG_SNR_LIMIT)).item()
        self.t_max = t_max

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - to_float64(t)

    def sigma(self, t: Tensor) -> Tensor:
        return to_float64(t)

    def alpha_rate(self, t: Tensor) -> Tensor:
        return -torch.ones_like(to_float64(t))

    def sigma_rate(self, t: Tensor) -> Tensor:
        return torch.ones_like(to_float64(t))

    def time(self, log_snr: Tensor) -> Tensor:
        return torch.sigmoid(-to_float64(log_snr) / 2)
