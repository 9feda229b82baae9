"""Operators across channels and chains of operators."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from genmods.core.luma import LUMA
from genmods.restoration.operators.base import Operator, Spectrum, once_a_size


@dataclass
class Grayscale(Operator):
    """The luma of colour images, [B, 3, H, W] -> [B, 1, H, W], for colourisation. A Aᵀ = ‖w‖²."""

    @property
    def joins_channels(self) -> bool:
        return True

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] != 3:
            raise ValueError(f"grayscale requires images of 3 channels, got {x.shape[1]}")
        return (x * self._luma(x)).sum(1, keepdim=True)

    def adjoint(self, y: Tensor) -> Tensor:
        return y * self._luma(y)

    @once_a_size
    def _luma(self, like: Tensor) -> Tensor:
        return like.new_tensor(LUMA)[:, None, None]

    def spectral(self, y: Tensor, f: Spectrum) -> Tensor:
        return f(self._luma(y).square().sum()) * y


@dataclass
class Compose(Operator):
    """The composition of `operators`, the first one applied first; its spectral functions use Lanczos iteration."""

    operators: list[Operator] | None = None

    @property
    def joins_channels(self) -> bool:
        return any(operator.joins_channels for operator in self.operators or [])

    @property
    def ill_conditioned(self) -> bool:
        return any(operator.ill_conditioned for operator in self.operators or [])

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
