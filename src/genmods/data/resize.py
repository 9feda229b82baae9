"""Resizes images to squares: the shorter side is resized with antialiasing, then the centre is cropped."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from genmods.data.images import Images


def resize(images: Images, side: int | None, levels: int = 256) -> Images:
    """`images` at `side` x `side` pixels, rounded to the same grey levels; unchanged if `side` is None."""
    if side is None or images.pixels.shape[-2:] == (side, side):
        return images
    pixels = torch.cat([resize_pixels(chunk, side, levels) for chunk in images.pixels.split(1024)])
    return replace(images, pixels=pixels)


def resize_pixels(pixels: Tensor, side: int, levels: int = 256) -> Tensor:
    """uint8 [N, C, H, W] as uint8 [N, C, side, side]: bicubic with antialiasing, centre crop."""
    height, width = pixels.shape[-2:]
    scale = side / min(height, width)
    size = (max(side, round(height * scale)), max(side, round(width * scale)))
    larger = F.interpolate(pixels.float(), size, mode="bicubic", antialias=True, align_corners=False)
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    cropped = larger[..., top : top + side, left : left + side]
    return cropped.round_().clamp_(0, levels - 1).to(torch.uint8)
