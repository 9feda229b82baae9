"""Augmentation with rectangles, which are erased or replaced by a part of another image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from genmods.core.batch import INPUT, LABEL, Batch
from genmods.core.settings import Fraction
from genmods.data.augmentation.base import Augmentation
from genmods.data.augmentation.mix import Mixing, partners, symmetric_beta


@dataclass
class RandomErasing(Augmentation):
    """Fills a rectangle of each image with `value`, black by default, with probability `p` (Zhong et al. 2017).

    Its area relative to the image is uniform in [`area_min`, `area_max`], its aspect ratio at most `ratio_max`.
    """

    p: Fraction = 0.5
    area_min: Annotated[float, Gt(0), Le("area_max")] = 0.02
    area_max: Annotated[float, Gt(0), Le(1)] = 0.25
    ratio_max: Annotated[float, Ge(1)] = 3.0
    value: float = -1.0
    num_uniforms: ClassVar[int] = 5

    def __post_init__(self) -> None:
        self.moves = self.value == -1

    @property
    def num_choices(self) -> int:
        """The sides of the rectangle."""
        return 4

    def choices(self, u: Tensor, height: int, width: int) -> Tensor:
        chosen, area, ratio, *_ = u.unbind(1)
        side = (self.area_min + (self.area_max - self.area_min) * area).sqrt_()
        stretch = torch.exp((ratio - 0.5) * math.log(self.ratio_max))
        image = _size(height, width, u)
        size = torch.stack([side / stretch, side * stretch], dim=1).mul_(image).round_().clamp_(min=1).minimum(image)
        start = (u[:, 3:] * (image + 1 - size)).floor_()
        return torch.cat([start, start + size * (chosen < self.p)[:, None]], dim=1)

    def apply(self, batch: Batch, choices: Tensor) -> Batch:
        images = batch[INPUT]
        kept = _outside(choices, images)
        images.mul_(kept)  # multiplying by 0 and 1 is exact, and much faster than a masked fill
        return batch | {INPUT: images if images.dtype == torch.uint8 else images.add_(1 - kept, alpha=self.value)}


@dataclass
class CutMix(Mixing):
    """Replaces a rectangle by that of another image of the batch, with labels weighted by area (Yun et al. 2019).

    The relative area is Beta(`alpha`, `alpha`) distributed before the rectangle, whose centre is uniform, is clipped at
    the border; labels are weighted by the clipped area. Applied with probability `p`.
    """

    p: Fraction = 0.5
    num_uniforms: ClassVar[int] = 5

    def choices(self, u: Tensor, height: int, width: int) -> Tensor:
        chosen, share, *_ = u.unbind(1)
        half = symmetric_beta(share, self.alpha).sqrt_().mul_(chosen < self.p)[:, None] / 2
        center, image = u[:, 2:4], _size(height, width, u)
        return torch.cat([((center - half) * image).round_(), ((center + half) * image).round_(), u[:, 4:]], dim=1)

    def apply(self, batch: Batch, choices: Tensor) -> Batch:
        images, labels = batch[INPUT], batch[LABEL]
        inside, other = _outside(choices[:, :4], images) == 0, partners(choices[:, 4])
        weight = inside.float().mean((1, 2, 3))[:, None]
        return batch | {
            INPUT: torch.where(inside, images[other], images),
            LABEL: (1 - weight) * labels + weight * labels[other],
        }


def _size(height: int, width: int, like: Tensor) -> Tensor:
    """(height, width) as a tensor of the type and device of `like`."""
    return torch.tensor([height, width], dtype=like.dtype, device=like.device)


def _outside(boxes: Tensor, images: Tensor) -> Tensor:
    """0 in a rectangle per image [B, C, H, W], otherwise 1, [B, 1, H, W] of the type of the images.

    `boxes` [B, 4] are (top, left, bottom, right) in pixels, the last two excluded.
    """
    height, width = images.shape[2:]
    start, stop = boxes.view(-1, 2, 2, 1).unbind(1)
    position = torch.arange(max(height, width), dtype=boxes.dtype, device=boxes.device)
    outside = ((position < start) | (position >= stop)).to(images.dtype)
    return torch.maximum(outside[:, None, 0, :height, None], outside[:, None, 1:, :width])
