"""A convolutional autoencoder that maps an image to the mean and log-variance of a smaller latent image, and back.

It is the network of a variational autoencoder (VAE) and the codec of a latent diffusion model.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from genmods.core.settings import Channels, DataChannels, DataSides, Depth
from genmods.core.sizes import sides
from genmods.networks.base import Network
from genmods.networks.blocks import ResidualBlock
from genmods.networks.layout import GroupNorm, channels_last
from genmods.networks.parts import Multipliers


class Autoencoder(Network):
    """Encoder and decoder for images [B, in_channels, image_size, image_size].

    The side of the latent image is image_size / 2^(levels - 1), rounded up.

    Args:
        width: Base number of channels.
        multipliers: Channels of each level in units of `width`, finest level first; each further level halves the
            resolution.
        blocks: Residual blocks per level.
        latent_channels: Channels of the latent image.
        in_channels: Channels of the images.
        image_size: Side of the images in pixels.

    Raises:
        ValueError: For settings out of range.
    """

    def __init__(
        self,
        in_channels: DataChannels = 1,
        image_size: DataSides = 28,
        width: Channels = 32,
        multipliers: Multipliers = (1, 2, 2),
        blocks: Depth = 1,
        latent_channels: Channels = 4,
    ):
        super().__init__()
        self.size = sides(image_size)
        self.margin = [-side % 2 ** (len(multipliers) - 1) for side in self.size]
        channels = [width * m for m in multipliers]
        encoder: list[nn.Module] = [nn.Conv2d(in_channels, channels[0], 3, padding=1)]
        decoder: list[nn.Module] = [nn.Conv2d(latent_channels, channels[-1], 3, padding=1)]
        for level, c in enumerate(channels):
            if level:
                encoder.append(nn.Conv2d(channels[level - 1], c, 3, stride=2, padding=1))
            encoder.extend(ResidualBlock(c) for _ in range(blocks))
        for level, c in reversed(list(enumerate(channels))):
            decoder.extend(ResidualBlock(c) for _ in range(blocks))
            if level:
                decoder.extend([nn.Upsample(scale_factor=2), nn.Conv2d(c, channels[level - 1], 3, padding=1)])
        self.encoder = nn.Sequential(*encoder, GroupNorm(1, channels[-1]), nn.SiLU())
        self.moments = nn.Conv2d(channels[-1], 2 * latent_channels, 1)
        self.decoder = nn.Sequential(*decoder, GroupNorm(1, channels[0]), nn.SiLU())
        self.last = nn.Conv2d(channels[0], in_channels, 3, padding=1)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, each [B, latent_channels, h, w], for images [B, C, image_size, image_size]."""
        if x.shape[2:] != self.size:
            raise ValueError(
                f"images must have {self.size[0]} x {self.size[1]} pixels (H x W), got {tuple(x.shape[2:])}"
            )
        padded = channels_last(F.pad(x, (0, self.margin[1], 0, self.margin[0])))
        mean, logvar = self.moments(self.encoder(padded)).to(x.dtype).chunk(2, dim=1)
        return mean, logvar.clamp(-20, 10)

    def decode(self, z: Tensor) -> Tensor:
        """Images [B, in_channels, image_size, image_size] of latent images [B, latent_channels, h, w]."""
        h = self.decoder(channels_last(z))
        return self.last(h)[:, :, : self.size[0], : self.size[1]].to(z.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruction of `x` [B, C, image_size, image_size] from the mean of its latent image."""
        return self.decode(self.encode(x)[0])
