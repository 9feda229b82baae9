"""Down-sampling by an integer factor: a separable linear map, y = D x Dᵀ per channel.

A = D ⊗ D, so with D Dᵀ = Q diag(λ) Qᵀ the eigenvalues of A Aᵀ are the products λᵢ λⱼ.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from genmods.restoration.operators.base import Operator, Spectrum, once_a_size


@dataclass
class Downsample(Operator):
    """Reduces both sides by `factor`, of which they must be multiples."""

    factor: Annotated[int, Ge(1), Le(64)] = 2

    @abstractmethod
    def matrix(self, size: int) -> Tensor:
        """D, float64 [size / factor, size]."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-2] % self.factor or x.shape[-1] % self.factor:
            raise ValueError(
                f"the sides of an image must be multiples of {self.factor}, got {x.shape[-2]} x {x.shape[-1]} pixels"
            )
        rows, columns = self._sides(x[..., :: self.factor, :: self.factor])
        return rows @ x @ columns.T

    def adjoint(self, y: Tensor) -> Tensor:
        rows, columns = self._sides(y)
        return rows.T @ y @ columns

    @once_a_size
    def _sides(self, y: Tensor) -> list[Tensor]:
        """D for the height and the width of measurements `y`."""
        return [self.matrix(size * self.factor).to(y) for size in y.shape[-2:]]

    @once_a_size
    def _spectra(self, y: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Eigenvalues and eigenvectors of D Dᵀ for the height and the width of measurements `y`."""
        matrices = (self.matrix(size * self.factor) for size in y.shape[-2:])
        found = (torch.linalg.eigh(d @ d.T) for d in matrices)
        return [(values.to(y), vectors.to(y)) for values, vectors in found]

    def spectral(self, y: Tensor, f: Spectrum) -> Tensor:
        (a, p), (b, q) = self._spectra(y)
        return p @ (f(torch.outer(a, b)) * (p.T @ y @ q)) @ q.T


@dataclass
class Average(Downsample):
    """The means of blocks of `factor` x `factor` pixels."""

    def matrix(self, size: int) -> Tensor:
        return torch.eye(size // self.factor, dtype=torch.float64).repeat_interleave(self.factor, 1) / self.factor


@dataclass
class Bicubic(Downsample):
    """Bicubic with antialiasing: Keys' kernel (a = -1/2) widened by `factor`, mirrored borders, rows that sum to 1."""

    def matrix(self, size: int) -> Tensor:
        centers = (torch.arange(size // self.factor, dtype=torch.float64) + 0.5) * self.factor - 0.5
        taps = torch.arange(-2 * self.factor, 2 * self.factor + 1) + centers.floor().long()[:, None]
        u = ((taps - centers[:, None]) / self.factor).abs()
        near, far = 1 - 2.5 * u**2 + 1.5 * u**3, 2 - 4 * u + 2.5 * u**2 - 0.5 * u**3
        weights = torch.where(u <= 1, near, torch.where(u < 2, far, 0.0))
        mirrored = taps % (2 * size)
        mirrored = torch.minimum(mirrored, 2 * size - 1 - mirrored)
        matrix = torch.zeros(len(centers), size, dtype=torch.float64).scatter_add_(1, mirrored, weights)
        return matrix / matrix.sum(1, keepdim=True)
