"""Noise for sampling as a pure function of (seed, sample number, step), independent of batch and device."""

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
"""The step number of the initial noise."""


class Noise(Protocol):
    """The standard normal noise of a batch of samples."""

    def initial(self) -> Tensor:
        """The initial noise [B, ...] of a sampler, which defines dtype and device of the samples."""

    def __call__(self, step: int) -> Tensor:
        """The noise [B, ...] added in `step`."""


@dataclass(frozen=True)
class NoiseStream:
    """Reproducible standard normal noise.

    Attributes:
        seed: The seed of all samples.
        indices: Sample numbers, int64 [B]; sample i depends on `seed` and `indices[i]` only.
        shape: The shape of one sample.
        dtype: The dtype of the result; random numbers are drawn in float32.
    """

    seed: int
    indices: Tensor
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32

    def initial(self) -> Tensor:
        """The initial noise `[B, *shape]` of a sampler."""
        return self(INITIAL)

    def __call__(self, step: int) -> Tensor:
        """The noise `[B, *shape]` added in `step`."""
        keys = fold(self.seed, self.indices, step)
        return normal(keys, math.prod(self.shape)).view(len(keys), *self.shape).to(self.dtype)


def noise_stream(
    seed: int,
    indices: Tensor,
    shape: tuple[int, ...],
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> NoiseStream:
    """The noise of a batch of samples.

    Args:
        seed: The seed.
        indices: Sample numbers, integers [B]; sample i depends on `seed` and `indices[i]` only.
        shape: The shape of one sample.
        device: The device of the noise; by default that of `indices`.
        dtype: The dtype of the noise and of the samples.

    Returns:
        A `NoiseStream`, which returns noise `[B, *shape]`.
    """
    return NoiseStream(seed, indices.to(device=device, dtype=torch.int64), tuple(shape), dtype)
