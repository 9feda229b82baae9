"""Noise for sampling as a pure function: sample i draws from (seed, i, step), whatever batch or device it stands in."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from genmods.core.random import fold, normal

StepNoise = Callable[[int], Tensor]
"""step -> standard normal noise [B, ...]."""

INITIAL = -1
"""The step whose noise a sampler starts from."""


class Noise(Protocol):
    """All the standard normal noise of a batch of samples."""

    def initial(self) -> Tensor:
        """The noise [B, ...] that a sampler starts from; its type and device are those of the samples."""

    def __call__(self, step: int) -> Tensor:
        """The noise [B, ...] that `step` adds."""


@dataclass(frozen=True)
class NoiseStream:
    """The `Noise` of the samples numbered `indices` (int64 [B]), each of `shape`, under `seed`."""

    seed: int
    indices: Tensor
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32

    def initial(self) -> Tensor:
        return self(INITIAL)

    def __call__(self, step: int) -> Tensor:
        keys = fold(self.seed, self.indices, step)
        return normal(keys, math.prod(self.shape)).view(len(keys), *self.shape).to(self.dtype)


def noise_stream(
    seed: int,
    indices: Tensor,
    shape: tuple[int, ...],
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> NoiseStream:
    """The noise of samples `indices` (int64 [B]), each of `shape` (without B), on `device` and of type `dtype`."""
    return NoiseStream(seed, indices.to(device=device, dtype=torch.int64), tuple(shape), dtype)
