"""Image grids."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genmods.data.images import to_uint8

if TYPE_CHECKING:
    from PIL import Image


def to_picture(images: Tensor, columns: int, scale: int | None = None, gap: int = 1) -> Image.Image:
    """A grid of images [N, C, H, W] in [-1, 1], row by row, enlarged by an integer factor.

    C is 1 or 3; otherwise only the first channel is shown.
    """
    from PIL import Image

    if images.shape[1] not in (1, 3):
        images = images[:, :1]
    images = to_uint8(images.detach().cpu().nan_to_num(-1))
    count, channels, height, width = images.shape
    scale = scale or max(1, round(56 / max(height, width)))
    images = images.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)
    height, width, gap = height * scale, width * scale, gap * max(1, scale // 2)
    rows = -(-count // columns)
    canvas = torch.full((channels, rows * (height + gap) + gap, columns * (width + gap) + gap), 128, dtype=torch.uint8)
    for i, image in enumerate(images):
        top, left = gap + (i // columns) * (height + gap), gap + (i % columns) * (width + gap)
        canvas[:, top : top + height, left : left + width] = image
    return Image.fromarray(canvas.permute(1, 2, 0).expand(-1, -1, 3).contiguous().numpy())
