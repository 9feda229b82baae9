"""Inpainting models: conditioned on a mask and the known pixels."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from genmods.core.batch import INPUT
from genmods.core.settings import DataChannels, DataSides
from genmods.core.sizes import sides
from genmods.diffusion.conditioning.base import Condition, Conditioning


class MaskedImage(Conditioning):
    """A mask (1 for known pixels) and the masked image, as `cond["image"]` [B, 1 + C, H, W], for inpainting.

    Masks are random in training: known pixels outside a box, or scattered at a random density. New samples are
    conditioned on an empty mask.
    """

    reveals_image = True

    def __init__(self, in_channels: DataChannels = 1, image_size: DataSides = 28) -> None:
        super().__init__()
        self.shape = (1 + in_channels, *sides(image_size))

    def forward(self, batch: Mapping[str, Tensor]) -> Condition:
        return {"image": masked(batch[INPUT])}

    def null(self, n: int, device: torch.device | str | None = None) -> Condition:
        return {"image": torch.zeros(n, *self.shape, device=device)}

    def same_as(self, other: Conditioning) -> bool:
        return super().same_as(other) and self.shape == getattr(other, "shape", None)


def masked(images: Tensor) -> Tensor:
    """Random masks (1 for known pixels) and masked images [B, 1 + C, H, W]: a box, a half or scattered pixels each."""
    batch, _, height, width = images.shape
    device = images.device
    scattered = torch.rand(batch, 1, height, width, device=device) < torch.rand(batch, 1, 1, 1, device=device)
    corner = torch.rand(2, batch, 1, 1, 1, device=device) * 0.75
    size = 0.25 + torch.rand(2, batch, 1, 1, 1, device=device) * 0.75
    y = torch.linspace(0, 1, height, device=device).view(1, 1, -1, 1)
    x = torch.linspace(0, 1, width, device=device).view(1, 1, 1, -1)
    inside = (y >= corner[0]) & (y <= corner[0] + size[0]) & (x >= corner[1]) & (x <= corner[1] + size[1])
    boxed = torch.rand(batch, 1, 1, 1, device=device) < 0.5
    known = torch.where(boxed, ~inside, scattered).to(images.dtype)
    return torch.cat([known, known * images], dim=1)
