"""Augmentation of a whole batch at once, with randomness of each sample's own from its key.

The key is fold(seed, epoch, index): what happens to a sample is a pure function of these, whatever batch or worker it
comes in. Every augmentation of a list draws from its own keys, fold(key, position in the list).
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

Batch = dict[str, Tensor]


class Augmentation:
    """Changes a batch: `image` float32 [B, C, H, W] in [-1, 1], `label` int64 [B] or float [B, K], `index`, `epoch`.

    `mixes` says that labels become weighted: the batch then arrives with float labels [B, K], each row summing to 1.
    """

    mixes: ClassVar[bool] = False

    def __call__(self, batch: Batch, keys: Tensor) -> Batch:
        """A new batch; sample i draws from `keys[i]` (int64 [B]) alone. The batch given is left as it is."""
        raise NotImplementedError


def broadcast(values: Tensor) -> Tensor:
    """One number a sample, [B], in the shape [B, 1, 1, 1] of a batch of images."""
    return values.view(-1, 1, 1, 1)
