"""Colour jitter: brightness, contrast and saturation, with independent factors per image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from genmods.core.batch import INPUT, Batch
from genmods.core.luma import LUMA
from genmods.core.settings import Fraction
from genmods.data.augmentation.base import Augmentation, broadcast


@dataclass
class ColorJitter(Augmentation):
    """Scales brightness, then contrast (relative to the mean grey of the image), then saturation (RGB only).

    Each factor is uniform in [1 - setting, 1 + setting]; values are scaled in [0, 1] and clipped.
    """

    brightness: Fraction = 0.2
    contrast: Fraction = 0.2
    saturation: Fraction = 0.2
    num_uniforms: ClassVar[int] = 3

    def apply(self, batch: Batch, u: Tensor) -> Batch:
        spreads = self.brightness, self.contrast, self.saturation
        brightness, contrast, saturation = (1 + s * (2 * v - 1) for s, v in zip(spreads, u.unbind(1), strict=True))
        images = (batch[INPUT] + 1) / 2
        images = (images * broadcast(brightness)).clamp_(0, 1)
        mean = gray(images).mean(dim=(1, 2, 3), keepdim=True)
        images = torch.lerp(mean, images, broadcast(contrast)).clamp_(0, 1)
        if images.shape[1] == 3:
            images = torch.lerp(gray(images), images, broadcast(saturation)).clamp_(0, 1)
        return batch | {INPUT: images * 2 - 1}


def gray(images: Tensor) -> Tensor:
    """Luma [B, 1, H, W] of RGB images, the mean over channels for others."""
    if images.shape[1] != 3:
        return images.mean(dim=1, keepdim=True)
    red, green, blue = images.split(1, dim=1)
    return (LUMA[0] * red).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])
