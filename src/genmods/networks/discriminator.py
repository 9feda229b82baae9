"""The discriminator of a GAN: residual blocks without norms, so that its output for an image depends only on it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from genmods.core.settings import Channels, DataChannels, Depth
from genmods.networks.base import Network
from genmods.networks.blocks import ResidualBlock
from genmods.networks.layout import channels_last
from genmods.networks.parts import Multipliers


class Discriminator(Network):
    """Images [B, in_channels, H, W] of any size to logits [B], positive for real images.

    Twice differentiable, as required by a gradient penalty.

    Args:
        width: Base number of channels.
        multipliers: Channels of each level in units of `width`, finest level first.
        blocks: Residual blocks per level.
        in_channels: Channels of the images.

    Raises:
        ValueError: For settings out of range.
    """

    def __init__(
        self,
        in_channels: DataChannels = 1,
        width: Channels = 32,
        multipliers: Multipliers = (1, 2, 4),
        blocks: Depth = 1,
    ):
        super().__init__()
        channels = [width * m for m in multipliers]
        layers: list[nn.Module] = [nn.Conv2d(in_channels, channels[0], 3, padding=1)]
        for level, c in enumerate(channels):
            if level:
                layers.append(nn.Conv2d(channels[level - 1], c, 3, stride=2, padding=1))
            layers.extend(ResidualBlock(c, normalized=False) for _ in range(blocks))
        self.layers = nn.Sequential(*layers)
        self.last = nn.Linear(channels[-1], 1)

    def features(self, x: Tensor) -> Tensor:
        h = self.layers(channels_last(x))
        return F.silu(h).mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.features(x)).flatten().to(x.dtype)
