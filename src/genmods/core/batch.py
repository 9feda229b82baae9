"""The keys of a batch, a dictionary of tensors with one row per sample."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

Batch = dict[str, Tensor]

INPUT = "image"
"""The samples: images float [B, C, H, W] in [-1, 1], or other samples of the data module."""
PAIRED = "paired"
"""The other image of each pair, float [B, C, H, W] in [-1, 1], for paired data."""
LABEL = "label"
"""Classes int64 [B], or numbers float [B, K]."""
INDEX = "index"
"""The index of each sample in its split, int64 [B]."""
EPOCH = "epoch"
"""How often each sample was drawn before, int64 [B]: the epoch, unless some are drawn more often."""
CHOICES = "choices"
"""The random choices of the augmentations, float32 [B, size]."""


class Share(NamedTuple):
    """The share of a batch that one of several processes computes.

    Args:
        key: A key of `genmods.core.random`, the same in all processes and different for each batch.
        rank: The rank of this process, from 0.
        world: Number of processes.
    """

    key: int
    rank: int = 0
    world: int = 1
