"""Augmentation of whole batches with independent randomness per sample.

The key of a sample is fold(seed, epoch, index); its augmentation is a pure function of the key, independent of batch
and worker. Each augmentation declares how many random numbers it takes per sample; a loader draws those of an epoch at
once.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from genmods.core.batch import INPUT, Batch
from genmods.core.random import uniform
from genmods.core.settings import Validated


class Augmentation(Validated):
    """Transforms a batch: `image` float32 [B, C, H, W] in [-1, 1], `label` int64 [B] or float [B, K], `index`, `epoch`.

    Subclasses define `apply` and `num_uniforms`, the number of random numbers that it takes per sample. If `mixes` is
    set, labels become weights: the batch has float labels [B, K], each row summing to 1. If `moves` is set, pixels are
    only moved or set to black, so that the augmentation also works on uint8 images (a quarter of the memory).
    """

    num_uniforms: ClassVar[int] = 0
    mixes: ClassVar[bool] = False
    moves: bool = False

    def __call__(self, batch: Batch, keys: Tensor) -> Batch:
        """A new batch; the augmentation of sample i depends on `keys[i]` (int64 [B]). The given batch is unchanged."""
        return self.apply(batch | {INPUT: batch[INPUT].clone()}, uniform(keys, self.num_uniforms))

    def apply(self, batch: Batch, u: Tensor) -> Batch:
        """A new batch; the augmentation of sample i depends on `u[i]`, numbers in [0, 1), float32 [B, num_uniforms].

        The given images may be modified.
        """
        raise NotImplementedError


def broadcast(values: Tensor) -> Tensor:
    """One number per sample, [B], reshaped to [B, 1, 1, 1] for a batch of images."""
    return values.view(-1, 1, 1, 1)
