"""The network of variational diffusion models (VDM), for likelihoods: a U-Net without down-sampling.

Likelihoods depend on the least significant bits of the pixels, which a convolution on values of order one hardly
resolves. Therefore sines and cosines of 2^n pi x are concatenated to the input (Fourier features; Kingma, Salimans,
Poole and Ho 2021, appendix C).
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from genmods.core.settings import DataChannels, Depth, EvenChannels, Rate
from genmods.networks.base import Condition
from genmods.networks.blocks import Head
from genmods.networks.conditional import ConditionalNetwork
from genmods.networks.layout import channels_last
from genmods.networks.unet import Stage


class VDM(ConditionalNetwork):
    """Residual network without down-sampling, [B, in_channels, H, W] to [B, out_channels, H, W]; any height and width.

    Args:
        in_channels: Channels of the images.
        width: Channels of every layer.
        depth: Residual blocks of the encoder; the decoder has as many, with skip connections.
        fourier: The exponents n of the Fourier features sin(2^n pi x) and cos(2^n pi x).
        attention: Whether there is self-attention between encoder and decoder.
        dropout: Dropout rate.
        settings: `num_classes`, `cond_channels`, `cond_size` and `out_channels` of `ConditionalNetwork`.
    """

    def __init__(
        self,
        in_channels: DataChannels = 1,
        width: EvenChannels = 64,
        depth: Depth = 4,
        fourier: tuple[Annotated[int, Ge(-30), Le(30)], ...] = (6, 7),
        attention: bool = True,
        dropout: Rate = 0.0,
        **settings: Any,
    ):
        super().__init__(in_channels, 4 * width, **settings)
        self.fourier = tuple(fourier)
        inputs, size = in_channels * (1 + 2 * len(self.fourier)) + self.cond_channels, 4 * width
        self.stem = nn.Conv2d(inputs, width, 3, padding=1)
        self.down = nn.ModuleList(Stage(width, width, size, dropout, 0) for _ in range(depth))
        self.middle = Stage(width, width, size, dropout, int(attention))
        self.up = nn.ModuleList(Stage(2 * width, width, size, dropout, 0) for _ in range(depth))
        self.head = Head(width, self.out_channels)

    def forward(self, x: Tensor, log_snr: Tensor, cond: Condition | None = None) -> Tensor:
        embedding = self.embedding(log_snr, cond)
        h = channels_last(self.stem(self.with_image(self.with_fourier(x), cond)))
        skips = []
        for stage in self.down:
            h = stage(h, embedding)
            skips.append(h)
        h = self.middle(h, embedding)
        for stage in self.up:
            h = stage(torch.cat([h, skips.pop()], dim=1), embedding)
        return self.head(h).to(x.dtype)

    def with_fourier(self, x: Tensor) -> Tensor:
        """`x` [B, C, H, W] concatenated with its Fourier features along the channels."""
        angles = [2**n * math.pi * x for n in self.fourier]
        return torch.cat([x, *(wave for angle in angles for wave in (angle.sin(), angle.cos()))], dim=1)
