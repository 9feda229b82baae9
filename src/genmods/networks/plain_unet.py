"""A U-Net without normalisation or attention, for the restoration of images of any size.

All layers are local and translation equivariant, so that an image can be processed in overlapping tiles and reassembled
without seams; the required overlap is given by `margin`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genmods.core.devices import full_precision
from genmods.core.settings import Count, DataChannels, Depth, EvenChannels
from genmods.networks.base import Condition
from genmods.networks.blocks import FusedLinear, zeroed
from genmods.networks.conditional import ConditionalNetwork
from genmods.networks.layout import channels_last
from genmods.networks.parts import Multipliers


class PlainUNet(ConditionalNetwork):
    """U-Net of residual convolution pairs, [B, in_channels, H, W] to [B, out_channels, H, W], after DRUNet.

    It has no norms, because restoration must preserve brightness and contrast, which a norm removes (Zhang et al.,
    "Plug-and-play image restoration with deep denoiser prior", 2021). First, `patch`×`patch` pixels are folded into
    channels, which reduces the cost per pixel. Each level adds its input to its output. The last layer is initialised
    to zero.

    Args:
        in_channels: Channels of the image.
        width: Channels of the finest level, even and at least 2.
        multipliers: Channels of each level in units of `width`, finest level first; each further level halves the side.
        blocks: Residual blocks per level in the encoder, and in the decoder; the coarsest level has twice as many.
        patch: Side of the square patches that are folded into channels.
        settings: `num_classes`, `cond_channels`, `cond_size` and `out_channels` of `ConditionalNetwork`.
    """

    def __init__(
        self,
        in_channels: DataChannels = 3,
        width: EvenChannels = 48,
        multipliers: Multipliers = (1, 2, 3),
        blocks: Depth = 2,
        patch: Count = 2,
        **settings: Any,
    ):
        super().__init__(in_channels, 2 * width, **settings)
        self.patch = patch
        self.multiple = patch * 2 ** (len(multipliers) - 1)
        """The side of the square of pixels that is one pixel at the coarsest level."""
        channels = [width * m for m in multipliers]
        self.stem = nn.Conv2d((in_channels + self.cond_channels) * patch**2, channels[0], 3, padding=1)
        self.levels = _levels(channels, blocks, 2 * width)
        self.last = zeroed(nn.Conv2d(channels[0], self.out_channels * patch**2, 3, padding=1))
        convolutions = 2 + sum(4 * blocks * 2**level for level in range(len(multipliers)))
        self.margin = (-(-patch * convolutions // self.multiple) + 1) * self.multiple
        """The radius of the receptive field in pixels, rounded up to a multiple of `multiple`."""
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, log_snr: Tensor, cond: Condition | None = None) -> Tensor:
        height, width = x.shape[2:]
        h = self.with_image(x, cond)
        bottom, right = -height % self.multiple, -width % self.multiple
        h = F.pad(h, (0, right, 0, bottom), mode="replicate")
        h = self.stem(channels_last(F.pixel_unshuffle(h, self.patch)))
        h = self.levels(h, self.embedding(log_snr, cond))
        with full_precision(x.device):
            h = self.last(h.to(self.last.weight.dtype))
        return F.pixel_shuffle(h, self.patch)[:, :, :height, :width].to(x.dtype)


def _levels(channels: list[int], blocks: int, embedding: int) -> PlainLevel:
    inner = _levels(channels[1:], blocks, embedding) if len(channels) > 1 else None
    return PlainLevel(channels[0], inner, blocks, embedding)


class PlainLevel(nn.Module):
    """The blocks of one resolution, with the coarser level `inner` in between: [B, channels, H, W] to the same."""

    def __init__(self, channels: int, inner: PlainLevel | None, blocks: int, embedding: int):
        super().__init__()
        self.channels, self.inner = channels, inner
        self.down = nn.ModuleList(GainResidualBlock(channels, embedding) for _ in range(blocks))
        self.up = nn.ModuleList(GainResidualBlock(channels, embedding) for _ in range(blocks))
        if inner:
            self.shrink = nn.Conv2d(channels, inner.channels, 2, stride=2)
            self.stretch = nn.ConvTranspose2d(inner.channels, channels, 2, stride=2)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        for block in self.down:
            h = block(h, embedding)
        if self.inner:
            h = h + self.stretch(self.inner(self.shrink(h), embedding))
        for block in self.up:
            h = block(h, embedding)
        return h


class GainResidualBlock(nn.Module):
    """x + conv(SiLU(gain · conv(x) + shift)), [B, channels, H, W] to the same; starts as the identity.

    Gain and shift depend on the embedding. The gain is 1 + tanh(s / 2), between 0 and 2: without norms, an unbounded
    one is multiplied over the depth of the network, and training diverges at rare noise levels.
    """

    def __init__(self, channels: int, embedding: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.modulation = zeroed(FusedLinear(embedding, channels, 2))
        self.last = zeroed(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        gain = 1 + (scale / 2).tanh()
        return x + self.last(F.silu(torch.addcmul(shift, self.first(x), gain)))
