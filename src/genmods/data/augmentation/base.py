"""Augmentation of batches with independent random numbers per sample.

The key of a sample is fold(seed, epoch, index); its augmentation is a pure function of the key, independent of batch
and worker. Each augmentation declares the number of random numbers per sample and what it chooses by them, such as the
corners of a rectangle. A loader computes the choices of an epoch at once: for a batch they would take longer than the
augmentation.
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

    Subclasses define `apply`, which keeps the shape of the images, and `num_uniforms`, the number of random numbers per
    sample; `choices` may turn these into `num_choices` others. With `mixes`, labels become weights: the batch has float
    labels [B, K], each row summing to 1. With `moves`, pixels are only moved or set to black, so that the augmentation
    also works on uint8 images (a quarter of the memory).
    """

    num_uniforms: ClassVar[int] = 0
    mixes: ClassVar[bool] = False
    moves: bool = False

    def __call__(self, batch: Batch, keys: Tensor) -> Batch:
        """A new batch; the augmentation of sample i depends on `keys[i]` (int64 [B]). The batch itself is not
        changed."""
        images = batch[INPUT]
        choices = self.choices(uniform(keys, self.num_uniforms), images.shape[2], images.shape[3])
        return self.apply(batch | {INPUT: images.clone()}, choices)

    @property
    def num_choices(self) -> int:
        """Numbers per sample that `choices` returns."""
        return self.num_uniforms

    def choices(self, u: Tensor, height: int, width: int) -> Tensor:
        """What the numbers `u` in [0, 1), float32 [B, num_uniforms], choose for images of a size in pixels, float32
        [B, num_choices]; by default, the numbers themselves."""
        return u

    def apply(self, batch: Batch, choices: Tensor) -> Batch:
        """A new batch; the augmentation of sample i depends on `choices[i]`, float32 [B, num_choices].

        May modify the images in place.
        """
        raise NotImplementedError


def broadcast(values: Tensor) -> Tensor:
    """One number per sample [B], reshaped to [B, 1, 1, 1] for broadcasting with images."""
    return values.view(-1, 1, 1, 1)
