"""Operators across channels and chains of operators."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genmods.restoration.operators.base import Operator, Spectrum

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


class Greyscale(Operator):
    """The luma of colour images, [B, 3, H, W] -> [B, 1, H, W]: what colourisation measures. A Aᵀ = ‖w‖²."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] != 3:
            raise ValueError(f"greyscale takes images of 3 channels, not {x.shape[1]}")
        return (x * x.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)

    def adjoint(self, y: Tensor) -> Tensor:
        return y * y.new_tensor(LUMA)[:, None, None]

    def spectral(self, y: Tensor, f: Spectrum) -> Tensor:
        return f(torch.tensor(LUMA, dtype=torch.float64).square().sum().to(y)) * y


@dataclass
class Compose(Operator):
    """The operators of a list, the first applied first; its spectrum is found by Lanczos."""

    operators: list[Operator] | None = None

    def forward(self, x: Tensor) -> Tensor:
        for operator in self.operators or []:
            x = operator.forward(x)
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        for operator in reversed(self.operators or []):
            y = operator.adjoint(y)
        return y

    def rows(self, indices: Tensor) -> Operator:
        return Compose([operator.rows(indices) for operator in self.operators or []])
