"""Noise for sampling as a pure function: sample i draws from (seed, i, step), whatever batch or device it stands in."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from genmods.core.random import fold, normal

Noise = Callable[[int], Tensor]
"""step -> standard normal noise [B, ...]; step -1 is the noise that a sampler starts from."""


@dataclass(frozen=True)
class NoiseStream:
    """The `Noise` of the samples numbered `indices` (int64 [B]), each of `shape`, under `seed`."""

    seed: int
    indices: Tensor
    shape: tuple[int, ...]

    def __call__(self, step: int) -> Tensor:
        keys = fold(self.seed, self.indices, step)
        return normal(keys, math.prod(self.shape)).view(len(keys), *self.shape)


def noise_stream(
    seed: int, indices: Tensor, shape: tuple[int, ...], device: torch.device | str | None = None
) -> NoiseStream:
    """The noise of samples `indices` (int64 [B]), each of `shape` (without B), on `device`."""
    return NoiseStream(seed, indices.to(device=device, dtype=torch.int64), tuple(shape))
