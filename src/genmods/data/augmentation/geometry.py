"""Moving the picture about: shifts by whole pixels, and crops and rotations by bilinear sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from genmods.data.augmentation.base import Augmentation, Batch
from genmods.keyed import integers, uniform


@dataclass
class Shift(Augmentation):
    """Moves each image by up to `pixels` in each direction, like padding by `pixels` and cropping at random.

    What comes in at the border is black (-1) or the reflected image.
    """

    pixels: int = 2
    padding: Literal["black", "reflect"] = "black"

    def __post_init__(self) -> None:
        if self.pixels < 0:
            raise ValueError(f"pixels must be at least 0, not {self.pixels}")

    def __call__(self, batch: Batch, keys: Tensor) -> Batch:
        images, pad = batch["image"], [self.pixels] * 4
        padded = F.pad(images, pad, value=-1.0) if self.padding == "black" else F.pad(images, pad, mode="reflect")
        return batch | {"image": windows(padded, integers(keys, 2, 2 * self.pixels + 1), images.shape[-2:])}


@dataclass
class Crop(Augmentation):
    """Cuts a part of `area_min` to all of the image's area, its sides at a ratio of up to `ratio_max`, and enlarges it.

    The inception crop (Szegedy et al. 2015), sampled bilinearly.
    """

    area_min: float = 0.5
    ratio_max: float = 4 / 3

    def __post_init__(self) -> None:
        if not 0 < self.area_min <= 1:
            raise ValueError(f"area_min must lie in (0, 1], not {self.area_min}")
        if self.ratio_max < 1:
            raise ValueError(f"ratio_max must be at least 1, not {self.ratio_max}")

    def __call__(self, batch: Batch, keys: Tensor) -> Batch:
        area, ratio, y, x = uniform(keys, 4).unbind(1)
        side = (self.area_min + (1 - self.area_min) * area).sqrt()
        stretch = torch.exp((ratio - 0.5) * math.log(self.ratio_max))
        height, width = (side / stretch).clamp(max=1), (side * stretch).clamp(max=1)
        zero = torch.zeros_like(side)
        rows = torch.stack([width, zero, (1 - width) * (2 * x - 1), zero, height, (1 - height) * (2 * y - 1)], dim=1)
        return batch | {"image": warp(batch["image"], rows.view(-1, 2, 3))}


@dataclass
class Rotate(Augmentation):
    """Turns each image about its centre by up to `degrees` either way; corners are filled by reflection."""

    degrees: float = 10.0

    def __call__(self, batch: Batch, keys: Tensor) -> Batch:
        angle = (2 * uniform(keys, 1)[:, 0] - 1) * math.radians(self.degrees)
        cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        height, width = batch["image"].shape[-2:]
        rows = torch.stack([cos, -sin * (height / width), zero, sin * (width / height), cos, zero], dim=1)
        return batch | {"image": warp(batch["image"], rows.view(-1, 2, 3))}


def windows(images: Tensor, corner: Tensor, size: tuple[int, ...]) -> Tensor:
    """A window [B, C, *size] of each image [B, C, H, W], its upper left corner at `corner` (y, x), int64 [B, 2]."""
    views = images.unfold(2, size[0], 1).unfold(3, size[1], 1)  # [B, C, y, x, *size], nothing copied
    return views[torch.arange(len(images), device=images.device), :, corner[:, 0], corner[:, 1]]


def warp(images: Tensor, matrices: Tensor) -> Tensor:
    """Each image [B, C, H, W] sampled where `matrices` [B, 2, 3] map the output's coordinates, (x, y) in [-1, 1]."""
    grid = F.affine_grid(matrices.to(images.dtype), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
