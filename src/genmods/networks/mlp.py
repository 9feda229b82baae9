"""A residual perceptron conditioned on noise level and label: the smallest denoising network."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from genmods.core.settings import Channels, CondSize, DataChannels, DataClasses, DataSides, Depth, EvenChannels
from genmods.core.sizes import sides
from genmods.networks.base import Condition, Network
from genmods.networks.blocks import Embedding, modulated, zeroed


class MLP(Network):
    """Perceptron for points [B, in_channels], or small images [B, in_channels, image_size, image_size], flattened.

    Args:
        in_channels: Dimension of the points, or channels of the images.
        width: Units of a layer, even.
        depth: Number of residual layers.
        num_classes: Number of class labels; 0 for no class conditioning.
        cond_size: Size of `cond["vector"]`.
        image_size: Side of the images; 1 for points.
        out_channels: Channels of the output, by default `in_channels`.

    Raises:
        ValueError: For settings out of range.
    """

    def __init__(
        self,
        in_channels: DataChannels = 2,
        image_size: DataSides = 1,
        width: EvenChannels = 128,
        depth: Depth = 3,
        num_classes: DataClasses = 0,
        cond_size: CondSize = 0,
        out_channels: Channels | None = None,
    ):
        super().__init__()
        self.num_classes, self.cond_size = num_classes, cond_size
        self.out_channels = in_channels if out_channels is None else out_channels
        pixels = math.prod(sides(image_size))
        self.embedding = Embedding(width, num_classes, cond_size)
        self.stem = nn.Linear(in_channels * pixels, width)
        self.layers = nn.ModuleList(Layer(width) for _ in range(depth))
        self.last = zeroed(nn.Linear(width, self.out_channels * pixels))

    def forward(self, x: Tensor, log_snr: Tensor, cond: Condition | None = None) -> Tensor:
        embedding = self.embedding(log_snr, cond)
        h = self.stem(x.flatten(1))
        for layer in self.layers:
            h = layer(h, embedding)
        return self.last(F.silu(h)).view(len(x), self.out_channels, *x.shape[2:]).to(x.dtype)


class Layer(nn.Module):
    """x + W2 silu(W1 norm(x)), with scale and shift of the norm computed from the embedding."""

    def __init__(self, width: int):
        super().__init__()
        self.film = zeroed(nn.Linear(width, 2 * width))
        self.inner = nn.Linear(width, 2 * width)
        self.outer = zeroed(nn.Linear(2 * width, width))

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        """`h` and `embedding` [B, width] to [B, width]."""
        scale, shift = self.film(embedding).chunk(2, dim=1)
        return h + self.outer(F.silu(self.inner(modulated(h, scale, shift))))
