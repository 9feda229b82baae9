"""Horizontal flips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from genmods.core.batch import EPOCH, INDEX, INPUT, Batch
from genmods.core.random import fold
from genmods.core.settings import Fraction, Seed
from genmods.data.augmentation.base import Augmentation, broadcast


@dataclass
class Flip(Augmentation):
    """Flips each image horizontally with probability `p`."""

    p: Fraction = 0.5
    num_uniforms: ClassVar[int] = 1
    moves = True

    def choices(self, u: Tensor, height: int, width: int) -> Tensor:
        return (u < self.p).float()

    def apply(self, batch: Batch, choices: Tensor) -> Batch:
        return batch | {INPUT: mirror(batch[INPUT], choices[:, 0])}


@dataclass
class AlternatingFlip(Augmentation):
    """Flips each image horizontally in every other epoch, so that two epochs contain both versions (Jordan 2024,
    airbench).

    Whether it is flipped in even or odd epochs is a random function of (`seed`, sample index). Requires `index` and
    `epoch`.
    """

    seed: Seed = 0
    moves = True

    def apply(self, batch: Batch, choices: Tensor) -> Batch:
        coin = fold(self.seed, batch[INDEX]) & 1
        return batch | {INPUT: mirror(batch[INPUT], (coin + batch[EPOCH]) % 2 == 1)}


def mirror(images: Tensor, chosen: Tensor) -> Tensor:
    """`images` [B, C, H, W] with the `chosen` ones (bool, or 0 and 1, [B]) flipped horizontally, in place
    unless they require a gradient."""
    if images.requires_grad:  # a view of the bytes has none
        return torch.where(broadcast(chosen) > 0, images.flip(-1), images)
    images = images.contiguous()
    bits, change = images.view(torch.uint8), images.flip(-1).view(torch.uint8)
    bits ^= change.bitwise_xor_(bits).bitwise_and_(-broadcast(chosen).to(torch.uint8))  # where() is much slower
    return images
