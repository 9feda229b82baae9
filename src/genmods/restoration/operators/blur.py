"""Blurs: circular convolution with a kernel k, diagonal in the Fourier basis, A = F* diag(k̂) F.

Boundaries are periodic. Frequencies with a gain |k̂| below `cutoff` are set to 0 in A, and therefore in its
pseudo-inverse, which would otherwise amplify rounding errors by the inverse gain.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from genmods.core.limits import Odd
from genmods.core.settings import Count, Rate
from genmods.restoration.operators.base import Operator, Spectrum, once_a_size

BINOMIAL = (1.0, 2.0, 1.0, 2.0, 4.0, 2.0, 1.0, 2.0, 1.0)


class Blur(Operator):
    """Circular convolution of each channel with `kernel()`, which sums to 1 and is centred.

    Raises ValueError for a `cutoff` outside [0, 1).
    """

    cutoff: Rate = 1e-3

    @property
    def ill_conditioned(self) -> bool:
        return True

    @abstractmethod
    def kernel(self) -> Tensor:
        """The kernel, float64 [h, w] with odd sides."""

    @once_a_size
    def transfer(self, like: Tensor) -> Tensor:
        """The gain k̂ of each frequency of images `like` [B, C, H, W], complex [H, W // 2 + 1]."""
        height, width = like.shape[-2:]
        kernel = self.kernel()
        rows = (torch.arange(kernel.shape[0]) - kernel.shape[0] // 2) % height
        columns = (torch.arange(kernel.shape[1]) - kernel.shape[1] // 2) % width
        wrapped = torch.zeros(height, width, dtype=kernel.dtype)
        wrapped.index_put_((rows[:, None], columns[None, :]), kernel, accumulate=True)
        gain = torch.fft.rfft2(wrapped)
        gain = torch.where(gain.abs() < self.cutoff, 0.0, gain)
        return gain.to(like.device, torch.complex128 if like.dtype == torch.float64 else torch.complex64)

    def _multiply(self, x: Tensor, gain: Tensor) -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(x) * gain, s=x.shape[-2:])

    def forward(self, x: Tensor) -> Tensor:
        return self._multiply(x, self.transfer(x))

    def adjoint(self, y: Tensor) -> Tensor:
        return self._multiply(y, self.transfer(y).conj())

    def spectral(self, y: Tensor, f: Spectrum) -> Tensor:
        return self._multiply(y, f(self.transfer(y).abs() ** 2))


@dataclass
class GaussianBlur(Blur):
    """A Gaussian kernel with a standard deviation of `sigma` pixels, truncated at four standard deviations."""

    sigma: Annotated[float, Gt(0), Le(200)] = 1.0
    cutoff: Rate = 1e-3

    def kernel(self) -> Tensor:
        reach = math.ceil(4 * self.sigma)
        line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / self.sigma) ** 2)
        return torch.outer(line, line) / line.sum() ** 2


@dataclass
class MotionBlur(Blur):
    """Linear motion over `length` pixels at `angle` degrees, anticlockwise from the horizontal."""

    length: Annotated[float, Ge(1), Le(1000)] = 5.0
    angle: float = 0.0
    cutoff: Rate = 1e-3

    def kernel(self) -> Tensor:
        reach = math.ceil(self.length / 2)
        axis = torch.arange(-reach, reach + 1, dtype=torch.float64)
        direction = math.radians(self.angle)
        track = torch.linspace(-0.5, 0.5, 32 * reach + 1, dtype=torch.float64) * (self.length - 1)
        columns, rows = track * math.cos(direction), -track * math.sin(direction)
        near = [(1 - (axis[:, None] - place).abs()).clamp_min(0) for place in (rows, columns)]
        kernel = near[0] @ near[1].T
        return kernel / kernel.sum()


@dataclass
class KernelBlur(Blur):
    """An arbitrary kernel: `weights` row by row, `columns` per row, both sides odd; by default 3 x 3 binomial."""

    weights: list[float] | None = None
    columns: Annotated[Count, Odd] = 3
    cutoff: Rate = 1e-3

    def __post_init__(self) -> None:
        count = len(self._weights)
        if count % (2 * self.columns) != self.columns:
            raise ValueError(f"weights must form an odd number of rows of {self.columns}, got {count} weights")
        if abs(sum(self._weights)) < 1e-12:
            raise ValueError("weights must not sum to 0, since they are divided by their sum")

    @property
    def _weights(self) -> Sequence[float]:
        return BINOMIAL if self.weights is None else self.weights

    def kernel(self) -> Tensor:
        kernel = torch.tensor(self._weights, dtype=torch.float64).view(-1, self.columns)
        return kernel / kernel.sum()
