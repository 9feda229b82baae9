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

    def apply(self, batch: Batch, u: Tensor) -> Batch:
        images = batch[INPUT]
        chosen, area, ratio, y, x = u.unbind(1)
        side = (self.area_min + (self.area_max - self.area_min) * area).sqrt_()
        stretch = torch.exp((ratio - 0.5) * math.log(self.ratio_max))
        spans = []
        for length, share, place in ((images.shape[2], side / stretch, y), (images.shape[3], side * stretch, x)):
            size = (share * length).round_().clamp_(1, length)
            start = (place * (length + 1 - size)).floor_()
            spans.append(_span(start, start + size, length).to(images))
        inside = spans[0].mul_((chosen < self.p)[:, None])[:, None, :, None] * spans[1][:, None, None, :]
        kept = images.mul_(1 - inside)  # multiplying by 0 and 1 is exact, and much faster than a masked fill
        return batch | {INPUT: kept if images.dtype == torch.uint8 else kept.add_(inside, alpha=self.value)}


@dataclass
class CutMix(Mixing):
    """Replaces a rectangle by that of another image of the batch, with labels weighted by area (Yun et al. 2019).

    The relative area is Beta(`alpha`, `alpha`) distributed before the rectangle, whose centre is uniform, is clipped at
    the border; labels are weighted by the clipped area. Applied with probability `p`.
    """

    p: Fraction = 0.5
    num_uniforms: ClassVar[int] = 5

    def apply(self, batch: Batch, u: Tensor) -> Batch:
        images, labels = batch[INPUT], batch[LABEL]
        height, width = images.shape[-2:]
        chosen, share, y, x, place = u.unbind(1)
        side = symmetric_beta(share, self.alpha).sqrt() * (chosen < self.p)
        rows, columns = (
            _span(((center - side / 2) * length).round(), ((center + side / 2) * length).round(), length)
            for length, center in ((height, y), (width, x))
        )
        other = partners(place)
        weight = (rows.sum(1) * columns.sum(1) / (height * width))[:, None]
        inside = rows[:, None, :, None] & columns[:, None, None, :]
        return batch | {
            INPUT: torch.where(inside, images[other], images),
            LABEL: (1 - weight) * labels + weight * labels[other],
        }


def _span(start: Tensor, stop: Tensor, length: int) -> Tensor:
    """bool [B, length], true in start <= position < stop."""
    position = torch.arange(length, dtype=start.dtype, device=start.device)
    return (position >= start[:, None]) & (position < stop[:, None])
