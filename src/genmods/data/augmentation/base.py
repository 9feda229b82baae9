"""Augmentation of batches with independent random numbers per sample.

The key of a sample is fold(seed, epoch, index); its augmentation is a pure function of the key, independent of batch
and worker. Each augmentation declares the number of random numbers per sample, and a loader draws those of an epoch at
once.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from genmods.core.batch import INPUT, Batch
from genmods.core.random import uniform
from genmods.core.settings import Validated


class Augmentation(Validated):
    """The registry kind `augmentation`: transforms a batch with `image` float32 [B, C, H, W] in [-1, 1], `label` int64
    [B] or float [B, K], `index` and `epoch`.

    Subclasses define `apply` and `num_uniforms`, the number of random numbers per sample. With `mixes`, labels become
    weights: the batch has float labels [B, K], each row summing to 1. With `moves`, pixels are only moved or set to
    black, so that the augmentation also works on uint8 images (a quarter of the memory).
    """

    num_uniforms: ClassVar[int] = 0
    mixes: ClassVar[bool] = False
    moves: bool = False

    def __call__(self, batch: Batch, keys: Tensor) -> Batch:
        """A new batch; the augmentation of sample i depends on `keys[i]` (int64 [B]). The batch itself is not
        changed."""
        return self.apply(batch | {INPUT: batch[INPUT].clone()}, uniform(keys, self.num_uniforms))

    def apply(self, batch: Batch, u: Tensor) -> Batch:
        """A new batch; the augmentation of sample i depends on `u[i]`, numbers in [0, 1), float32 [B, num_uniforms].

        May modify the images in place.
        """
        raise NotImplementedError


def broadcast(values: Tensor) -> Tensor:
    """One number per sample [B], reshaped to [B, 1, 1, 1] for broadcasting with images."""
    return values.view(-1, 1, 1, 1)
