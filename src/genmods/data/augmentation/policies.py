"""Tuning-free policies: one operation of random strength per image, or several of fixed strength."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor

from genmods.core.batch import INPUT, Batch
from genmods.data.augmentation.base import Augmentation
from genmods.data.augmentation.operations import OPERATIONS, Strengths, operate

_BINS = 31


@dataclass
class TrivialAugment(Augmentation):
    """One of fourteen operations per image, with one of 31 strengths (Müller and Hutter 2021, the wide space).

    Shears up to a slope of 0.99, translations by 32 pixels, rotations by 135 degrees, factors of 0.01 to 1.99,
    posterization to 2 bits, solarization, autocontrast, equalization, or identity.
    """

    num_uniforms: ClassVar[int] = 3

    def apply(self, batch: Batch, u: Tensor) -> Batch:
        images = batch[INPUT]
        most = Strengths(0.99, min(1.0, 32 / max(images.shape[-2:])), 135.0, 0.99, 6)
        strength = (u[:, 1] * _BINS).floor() / (_BINS - 1)
        changed = operate((images + 1) / 2, (u[:, 0] * len(OPERATIONS)).long(), _signed(strength, u[:, 2]), most)
        return batch | {INPUT: changed * 2 - 1}


@dataclass
class RandAugment(Augmentation):
    """`num_ops` of fourteen operations per image in sequence, with strength `magnitude` (Cubuk et al. 2020).

    Magnitude 30 shears by a slope of 0.3, translates by 0.45 of the side, rotates by 30 degrees, scales by 0.1 or 1.9,
    and posterizes to 4 bits.
    """

    num_ops: Annotated[int, Ge(1), Le(100)] = 2
    magnitude: Annotated[int, Ge(0), Le(30)] = 9

    @property
    def num_uniforms(self) -> int:  # type: ignore[override]
        """Two per operation."""
        return 2 * self.num_ops

    def apply(self, batch: Batch, u: Tensor) -> Batch:
        images = (batch[INPUT] + 1) / 2
        for operation, sign in zip(u[:, ::2].unbind(1), u[:, 1::2].unbind(1), strict=True):
            strength = _signed(torch.full_like(sign, self.magnitude / (_BINS - 1)), sign)
            images = operate(images, (operation * len(OPERATIONS)).long(), strength, _RANDAUGMENT)
        return batch | {INPUT: images * 2 - 1}


_RANDAUGMENT = Strengths(shear=0.3, translate=150 / 331, degrees=30.0, factor=0.9, bits=4)


def _signed(strength: Tensor, coin: Tensor) -> Tensor:
    return torch.where(coin < 0.5, -strength, strength)
