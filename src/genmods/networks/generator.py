"""The generator of a GAN: a learned constant, upsampled level by level and modulated by z in every block."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from genmods.core.settings import Channels, DataChannels, DataSides, Depth
from genmods.core.sizes import sides
from genmods.networks.base import Network
from genmods.networks.blocks import Block
from genmods.networks.layout import GroupNorm, channels_last
from genmods.networks.parts import Multipliers


class Generator(Network):
    """Latent vectors [B, latent] to images [B, in_channels, image_size, image_size] in [-1, 1].

    Args:
        latent: Size of the latent vectors.
        width: Base number of channels.
        multipliers: Channels of each level in units of `width`, finest level first; levels differ by a factor of 2 in
            resolution.
        blocks: Residual blocks per level, each with FiLM on z.
        in_channels: Channels of the images.
        image_size: Side of the images in pixels.

    Raises:
        ValueError: For settings out of range.
    """

    def __init__(
        self,
        latent: Channels = 64,
        in_channels: DataChannels = 1,
        image_size: DataSides = 28,
        width: Channels = 32,
        multipliers: Multipliers = (1, 2, 4),
        blocks: Depth = 1,
    ):
        super().__init__()
        self.size = sides(image_size)
        channels = [width * m for m in multipliers]
        self.coarsest = tuple(-(-side // 2 ** (len(channels) - 1)) for side in self.size)
        size = 4 * width
        self.style = nn.Sequential(nn.Linear(latent, size), nn.SiLU(), nn.Linear(size, size), nn.SiLU())
        self.stem = nn.Linear(size, channels[-1] * math.prod(self.coarsest))
        self.levels = nn.ModuleList()
        coarser = channels[-1]
        for c in reversed(channels):
            inputs = [coarser] + [c] * (blocks - 1)
            self.levels.append(nn.ModuleList(Block(i, c, size) for i in inputs))
            coarser = c
        self.norm = GroupNorm(1, channels[0])
        self.last = nn.Conv2d(channels[0], in_channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        style = self.style(z)
        h = channels_last(self.stem(style).unflatten(1, (-1, *self.coarsest)))
        for index, level in enumerate(self.levels):
            if index:
                h = F.interpolate(h, scale_factor=2)
            for block in level.children():
                h = block(h, style)
        out = self.last(F.silu(self.norm(h)))[:, :, : self.size[0], : self.size[1]]
        return out.to(z.dtype).tanh()
