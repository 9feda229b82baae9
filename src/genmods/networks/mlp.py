"""A residual perceptron conditioned on noise level and label: the smallest denoising network."""

from __future__ import annotations

import math
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from genmods.core.settings import DataChannels, DataSides, Depth, EvenChannels
from genmods.core.sizes import sides
from genmods.networks.base import Condition
from genmods.networks.blocks import FusedLinear, modulated, zeroed
from genmods.networks.conditional import ConditionalNetwork


class MLP(ConditionalNetwork):
    """Perceptron for points [B, in_channels], or small images [B, in_channels, image_size, image_size], flattened.

    Args:
        in_channels: Dimension of the points, or channels of the images.
        width: Units of a layer, even.
        depth: Number of residual layers.
        image_size: Side of the images; 1 for points.
        settings: `num_classes`, `cond_channels`, `cond_size` and `out_channels` of `ConditionalNetwork`.
    """

    def __init__(
        self,
        in_channels: DataChannels = 2,
        image_size: DataSides = 1,
        width: EvenChannels = 128,
        depth: Depth = 3,
        **settings: Any,
    ):
        super().__init__(in_channels, width, **settings)
        pixels = math.prod(sides(image_size))
        self.stem = nn.Linear((in_channels + self.cond_channels) * pixels, width)
        self.layers = nn.ModuleList(Layer(width) for _ in range(depth))
        self.last = zeroed(nn.Linear(width, self.out_channels * pixels))

    def forward(self, x: Tensor, log_snr: Tensor, cond: Condition | None = None) -> Tensor:
        embedding = self.embedding(log_snr, cond)
        h = self.stem(self.with_image(x, cond).flatten(1))
        for layer in self.layers:
            h = layer(h, embedding)
        return self.last(F.silu(h)).view(x.shape[0], self.out_channels, *x.shape[2:]).to(x.dtype)


class Layer(nn.Module):
    """x + W2 silu(W1 norm(x)), with scale and shift of the norm computed from the embedding."""

    def __init__(self, width: int):
        super().__init__()
        self.film = zeroed(FusedLinear(width, width, 2))
        self.inner = nn.Linear(width, 2 * width)
        self.outer = zeroed(nn.Linear(2 * width, width))

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        """`h` and `embedding` [B, width] to [B, width]."""
        scale, shift = self.film(embedding).chunk(2, dim=1)
        return h + self.outer(F.silu(self.inner(modulated(h, scale, shift))))
