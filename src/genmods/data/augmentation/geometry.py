"""Geometric augmentation: translation by whole pixels, and bilinear crops and rotations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le
from torch import Tensor

from genmods.core.batch import INPUT, Batch
from genmods.data.augmentation.base import Augmentation


@dataclass
class Translate(Augmentation):
    """Translates each image by up to `pixels` in each direction, like padding by `pixels` and random cropping.

    The padding is black (-1) or the reflected image.
    """

    pixels: Annotated[int, Ge(0), Le(16_384)] = 2
    padding: Literal["black", "reflect"] = "black"
    num_uniforms: ClassVar[int] = 2
    moves = True

    def choices(self, u: Tensor, height: int, width: int) -> Tensor:
        return (u * (2 * self.pixels + 1)).floor_()

    def apply(self, batch: Batch, choices: Tensor) -> Batch:
        images, pad = batch[INPUT], self.pixels
        if self.padding == "reflect":
            rows, columns = (_reflected(length, pad, images.device) for length in images.shape[-2:])
            padded = images.index_select(2, rows).index_select(3, columns)
        else:
            padded = F.pad(images, [pad] * 4, value=-1 if images.is_floating_point() else 0)
        return batch | {INPUT: windows(padded, choices.long(), images.shape[2], images.shape[3])}


class Affine(Augmentation):
    """Samples each image bilinearly at positions of an affine map [2, 3], the choice of a subclass, as in `warp`."""

    @property
    def num_choices(self) -> int:
        """The rows of the map."""
        return 6

    def apply(self, batch: Batch, choices: Tensor) -> Batch:
        return batch | {INPUT: warp(batch[INPUT], choices.view(-1, 2, 3))}


@dataclass
class RandomResizedCrop(Affine):
    """Crops a part of each image and resizes it to the size of the image (inception crop, Szegedy et al. 2015).

    The relative area is uniform in [`area_min`, 1], the aspect ratio at most `ratio_max`; sampled bilinearly.
    """

    area_min: Annotated[float, Gt(0), Le(1)] = 0.5
    ratio_max: Annotated[float, Ge(1)] = 4 / 3
    num_uniforms: ClassVar[int] = 4

    def choices(self, u: Tensor, height: int, width: int) -> Tensor:
        area, ratio, y, x = u.unbind(1)
        side = (self.area_min + (1 - self.area_min) * area).sqrt()
        stretch = torch.exp((ratio - 0.5) * math.log(self.ratio_max))
        tall, wide = (side / stretch).clamp(max=1), (side * stretch).clamp(max=1)
        zero = torch.zeros_like(side)
        return torch.stack([wide, zero, (1 - wide) * (2 * x - 1), zero, tall, (1 - tall) * (2 * y - 1)], dim=1)


@dataclass
class Rotate(Affine):
    """Rotates each image about its centre by up to `degrees` in either direction, with reflection padding."""

    degrees: Annotated[float, Ge(0), Le(180)] = 10.0
    num_uniforms: ClassVar[int] = 1

    def choices(self, u: Tensor, height: int, width: int) -> Tensor:
        angle = (2 * u[:, 0] - 1) * math.radians(self.degrees)
        cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        return torch.stack([cos, -sin * (height / width), zero, sin * (width / height), cos, zero], dim=1)


def windows(images: Tensor, corner: Tensor, height: int, width: int) -> Tensor:
    """A window [B, C, height, width] of each image [B, C, H, W], with upper left corner (y, x) `corner`, int64 [B, 2].

    Whole rows are gathered, from an overlapping strided view with rows of `width` pixels.
    """
    columns, flat = images.shape[3], images.contiguous().view(-1)
    runs = flat.as_strided((len(flat) - width + 1, width), (1, 1))
    start = _rows(images.shape, height, images.device) + (corner[:, 0] * columns + corner[:, 1]).view(-1, 1, 1)
    return runs.index_select(0, start.view(-1)).view(*start.shape, width)


@lru_cache(maxsize=4)
def _rows(shape: torch.Size, height: int, device: torch.device) -> Tensor:
    """Positions in memory of the first `height` rows of images of a shape [B, C, H, W], int64 [B, C, height]."""
    return torch.arange(0, shape.numel(), shape[3], device=device).view(shape[:3])[:, :, :height].contiguous()


def _reflected(length: int, pad: int, device: torch.device) -> Tensor:
    """Indices of `length` positions with `pad` more on both sides, reflected without repeating the border."""
    if pad >= length:
        raise ValueError(f"pixels must be below {length}, the size of the image, for reflection padding, got {pad}")
    return length - 1 - (length - 1 - torch.arange(-pad, length + pad, device=device).abs()).abs()


def warp(images: Tensor, matrices: Tensor) -> Tensor:
    """Images [B, C, H, W] sampled at the output coordinates, (x, y) in [-1, 1], mapped by `matrices` [B, 2, 3]."""
    grid = F.affine_grid(matrices.to(images.dtype), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
