"""Resizing of images in memory, with antialiasing."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from genmods.data.images import Images
from genmods.data.kept.pixels import chunks
from genmods.data.preparation import Background, Fit


def resize(
    images: Images,
    size: tuple[int, int] | None,
    fit: Fit = "crop",
    levels: int = 256,
    background: Background = "black",
) -> Images:
    """`images` resized to (height, width), rounded to the same grey levels; unchanged if `size` is None."""
    if size is None or images.pixels.shape[-2:] == size:
        return images
    border = levels - 1 if background == "white" else 0
    pixels = torch.cat([resize_pixels(chunk, size, fit, levels, border) for chunk in chunks(images.pixels)])
    return replace(images, pixels=pixels)


def resize_pixels(pixels: Tensor, size: tuple[int, int], fit: Fit, levels: int, border: int) -> Tensor:
    """Stored pixels [N, C, H, W] resized to (height, width), bicubic; the border of `pad` has the value `border`."""
    height, width = pixels.shape[-2:]
    scales = (size[0] / height, size[1] / width)
    if fit != "stretch":
        scales = (max(scales), max(scales)) if fit == "crop" else (min(scales), min(scales))
    inner = [max(1, round(side * scale)) for side, scale in zip((height, width), scales, strict=True)]
    inner = [(max if fit == "crop" else min)(a, b) for a, b in zip(inner, size, strict=True)]
    scaled = F.interpolate(pixels.float(), inner, mode="bicubic", antialias=True, align_corners=False)
    top, left = ((a - b) // 2 for a, b in zip(inner, size, strict=True))
    if fit == "crop":
        scaled = scaled[..., top : top + size[0], left : left + size[1]]
    else:
        scaled = F.pad(scaled, (-left, size[1] - inner[1] + left, -top, size[0] - inner[0] + top), value=border)
    return scaled.round_().clamp_(0, levels - 1).to(pixels.dtype)
