"""Augmentation of a whole batch at once, with randomness of each sample's own from its key.

The key is fold(seed, epoch, index): what happens to a sample is a pure function of these, whatever batch or worker it
comes in. Each augmentation declares how many numbers of a sample it takes; a loader draws those of an epoch at once.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from genmods.core.batch import INPUT, Batch
from genmods.core.random import uniform


class Augmentation:
    """Changes a batch: `image` float32 [B, C, H, W] in [-1, 1], `label` int64 [B] or float [B, K], `index`, `epoch`.

    Subclasses have `apply` and say how many random numbers of a sample it takes, `draws`. `mixes` says that labels
    become weighted: the batch then arrives with float labels [B, K], each row summing to 1. `moves` says that pixels
    are only moved about or made black, so that uint8 images (black is 0), a quarter of the bytes, do as well.
    """

    num_uniforms: ClassVar[int] = 0
    mixes: ClassVar[bool] = False
    moves: bool = False

    def __call__(self, batch: Batch, keys: Tensor) -> Batch:
        """A new batch; what happens to sample i depends on `keys[i]` (int64 [B]). The batch given is left as it is."""
        return self.apply(batch | {INPUT: batch[INPUT].clone()}, uniform(keys, self.num_uniforms))

    def apply(self, batch: Batch, u: Tensor) -> Batch:
        """A new batch; what happens to sample i depends on `u[i]`, numbers in [0, 1), float32 [B, draws].

        The images given may be written into.
        """
        raise NotImplementedError


def broadcast(values: Tensor) -> Tensor:
    """One number a sample, [B], in the shape [B, 1, 1, 1] of a batch of images."""
    return values.view(-1, 1, 1, 1)
