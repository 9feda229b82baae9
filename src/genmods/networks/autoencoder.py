"""A convolutional autoencoder: an image to the mean and log-variance of a smaller latent image, and back.

It serves a variational autoencoder as its network and a latent diffusion model as its codec.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from genmods.networks.base import Network
from genmods.networks.blocks import PlainBlock
from genmods.networks.layout import channels_last


class Autoencoder(Network):
    """Encoder and decoder for images [B, in_channels, image_size, image_size].

    `multipliers`: channels of each level in units of `width`, the finest first; each but the first halves the side.
    `blocks`: residual blocks a level; `latent_channels`: channels of the latent image, whose side is image_size /
    2^(levels - 1), rounded up. Raises ValueError for settings out of range and images of another size.
    """

    def __init__(
        self,
        in_channels: int = 1,
        image_size: int = 28,
        width: int = 32,
        multipliers: tuple[int, ...] = (1, 2, 2),
        blocks: int = 1,
        latent_channels: int = 4,
    ):
        super().__init__()
        if not multipliers or min(multipliers) < 1 or width < 1:
            raise ValueError(f"width is {width}, multipliers is {tuple(multipliers)}: positive numbers are needed")
        if blocks < 1 or latent_channels < 1 or image_size < 1:
            raise ValueError(
                f"blocks is {blocks}, latent_channels {latent_channels}, image_size {image_size}: at least 1 each"
            )
        self.image_size = image_size
        self.margin = -image_size % 2 ** (len(multipliers) - 1)
        channels = [width * m for m in multipliers]
        encoder: list[nn.Module] = [nn.Conv2d(in_channels, channels[0], 3, padding=1)]
        decoder: list[nn.Module] = [nn.Conv2d(latent_channels, channels[-1], 3, padding=1)]
        for level, c in enumerate(channels):
            if level:
                encoder.append(nn.Conv2d(channels[level - 1], c, 3, stride=2, padding=1))
            encoder.extend(PlainBlock(c) for _ in range(blocks))
        for level, c in reversed(list(enumerate(channels))):
            decoder.extend(PlainBlock(c) for _ in range(blocks))
            if level:
                decoder.extend([nn.Upsample(scale_factor=2), nn.Conv2d(c, channels[level - 1], 3, padding=1)])
        self.encoder = nn.Sequential(*encoder, nn.GroupNorm(1, channels[-1]), nn.SiLU())
        self.moments = nn.Conv2d(channels[-1], 2 * latent_channels, 1)
        self.decoder = nn.Sequential(*decoder, nn.GroupNorm(1, channels[0]), nn.SiLU())
        self.last = nn.Conv2d(channels[0], in_channels, 3, padding=1)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, each [B, latent_channels, h, w], of images [B, C, image_size, image_size]."""
        if x.shape[2:] != (self.image_size, self.image_size):
            raise ValueError(f"images are {tuple(x.shape[2:])}: the autoencoder is for side {self.image_size}")
        padded = channels_last(F.pad(x, (0, self.margin, 0, self.margin)))
        mean, logvar = self.moments(self.encoder(padded)).to(x.dtype).chunk(2, dim=1)
        return mean, logvar.clamp(-20, 10)

    def decode(self, z: Tensor) -> Tensor:
        """Images [B, in_channels, image_size, image_size] of latent images [B, latent_channels, h, w]."""
        h = self.decoder(channels_last(z))
        return self.last(h)[:, :, : self.image_size, : self.image_size].to(z.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction of `x` from the mean of its latent image."""
        return self.decode(self.encode(x)[0])
