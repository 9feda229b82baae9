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
"""The step whose noise a sampler starts from."""


class Noise(Protocol):
    """All the standard normal noise of a batch of samples."""

    def initial(self) -> Tensor:
        """The noise [B, ...] that a sampler starts from; its type and device are those of the samples."""

    def __call__(self, step: int) -> Tensor:
        """The noise [B, ...] that `step` adds."""


@dataclass(frozen=True)
class NoiseStream:
    """Reproducible standard normal noise.

    Attributes:
        seed: The seed of all samples.
        indices: Sample numbers, int64 [B]; sample i depends on `seed` and `indices[i]` alone.
        shape: The shape of one sample, without B.
        dtype: The type of the noise; it is drawn in float32.
    """

    seed: int
    indices: Tensor
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32

    def initial(self) -> Tensor:
        """The noise `[B, *shape]` that a sampler starts from."""
        return self(INITIAL)

    def __call__(self, step: int) -> Tensor:
        """The noise `[B, *shape]` of `step`."""
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
        indices: Sample numbers, integers [B]; sample i depends on `seed` and `indices[i]` alone.
        shape: The shape of one sample, without B.
        device: Where the noise is made; by default where `indices` are.
        dtype: The type of the noise, and so of the samples.

    Returns:
        A `NoiseStream`, whose calls return noise `[B, *shape]`.
    """
    return NoiseStream(seed, indices.to(device=device, dtype=torch.int64), tuple(shape), dtype)
