"""Random masks under which a model is trained to inpaint."""

from __future__ import annotations

import torch
from torch import Tensor


def masked(images: Tensor) -> Tensor:
    """A random mask (1 = known) and the image under it [B, 1 + C, H, W]: a box, a half or scattered pixels each."""
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
