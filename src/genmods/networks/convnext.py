"""ConvNeXt, a convolutional network with transformer-like proportions (Liu et al., "A ConvNet for the 2020s", 2022).

A block consists of a depthwise convolution, which mixes pixels, and a two-layer perceptron, which mixes channels, with
one layer norm, one GELU and a residual connection. A layer norm and a strided convolution join the stages. The patch
size of the stem is 2 instead of the paper's 4, for small images.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge, MaxLen, MinLen
from torch import Tensor, nn

from genmods.core.limits import Length, Odd
from genmods.core.settings import Channels, Classes, Count, DataChannels, Depth, FromData, Pixels, Rate
from genmods.networks.base import Network
from genmods.networks.parts import DropPath, drop_rates

_Side = Annotated[Pixels, Ge("patch * 2 ** (len(widths) - 1)")]


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel of [B, C, H, W]."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, norm, perceptron, residual connection: [B, width, H, W] -> the same shape."""

    def __init__(self, width: int, kernel: int, drop_path: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((width,), 1e-6))
        self.mix = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.expand, self.project = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.mix(x).permute(0, 2, 3, 1))
        h = self.scale * self.project(F.gelu(self.expand(h)))
        return x + self.drop_path(h.permute(0, 3, 1, 2))


class ConvNeXt(Network):
    """ConvNeXt for images [B, in_channels, image_size, image_size].

    ConvNeXt-T of the paper has patch 4, blocks 3, 3, 9, 3 and widths 96, 192, 384, 768.

    Args:
        widths: Channels of each stage; a stage has half the resolution of the previous one.
        blocks: Blocks of each stage.
        patch: Side and stride of the stem.
        kernel: Side of the depthwise filters, odd.
        drop_path: Stochastic depth rate of the last block, rising linearly from 0.
        in_channels: Channels of the images.
        image_size: Side of the images in pixels.
        num_classes: Number of classes.

    Raises:
        ValueError: If the images are too small for the stages.
    """

    def __init__(
        self,
        widths: Annotated[tuple[Channels, ...], MinLen(1), MaxLen(16)] = (64, 128, 256),
        blocks: Annotated[tuple[Depth, ...], Length("len(widths)")] = (2, 2, 2),
        patch: Count = 2,
        kernel: Annotated[Count, Odd] = 7,
        drop_path: Rate = 0.1,
        in_channels: DataChannels = 1,
        image_size: Annotated[_Side | tuple[_Side, _Side], FromData] = 28,
        num_classes: Classes = 10,
    ) -> None:
        super().__init__()
        rates = iter(drop_rates(drop_path, sum(blocks)))
        stages: list[nn.Module] = []
        for i, (width, depth) in enumerate(zip(widths, blocks, strict=True)):
            if i == 0:
                stages += [nn.Conv2d(in_channels, width, patch, patch), ChannelNorm(width, eps=1e-6)]
            else:
                stages += [ChannelNorm(widths[i - 1], eps=1e-6), nn.Conv2d(widths[i - 1], width, 2, 2)]
            stages += [ConvNeXtBlock(width, kernel, next(rates)) for _ in range(depth)]
        self.stages = nn.Sequential(*stages)
        self.norm = nn.LayerNorm(widths[-1], eps=1e-6)
        self.head = nn.Linear(widths[-1], num_classes)
        for part in self.modules():
            if isinstance(part, nn.Conv2d | nn.Linear) and part.bias is not None:
                nn.init.trunc_normal_(part.weight, std=0.02)
                nn.init.zeros_(part.bias)

    def features(self, x: Tensor) -> Tensor:
        return self.norm(self.stages(x).mean((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))
