"""A U-Net that preserves the magnitude of its activations (EDM2)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genmods.core.devices import full_precision
from genmods.core.settings import Count, DataChannels, Depth, EvenChannels, Rate
from genmods.networks import magnitude
from genmods.networks.base import Condition
from genmods.networks.conditional import ConditionalNetwork
from genmods.networks.layout import channels_last
from genmods.networks.parts import LevelsOf, Multipliers


class UNetMP(ConditionalNetwork):
    """Magnitude-preserving U-Net, [B, in_channels, H, W] to [B, out_channels, H, W] (EDM2, Karras et al. 2024).

    Weights are normalised, so that weight decay is of no use and the learning rate must decrease; Adam with 1e-2 is a
    start. In a training loop without genmods' tasks, call `before_step` before each step.

    Args:
        in_channels: Channels of the images.
        width: Base number of channels, even and at least 2.
        multipliers: Channels of each level in units of `width`, finest level first.
        blocks: Residual blocks per level in the encoder, and as many in the decoder.
        attention: Levels with self-attention after each block; 0 is the finest, -1 the coarsest.
        heads: Attention heads.
        dropout: Dropout rate.
        patch: Side of the square patches that the first layer folds into channels: much cheaper, slightly coarser.
        settings: `num_classes`, `cond_channels`, `cond_size` and `out_channels` of `ConditionalNetwork`.
    """

    embedding_type: ClassVar[type[nn.Module]] = magnitude.Embedding

    def __init__(
        self,
        in_channels: DataChannels = 1,
        width: EvenChannels = 32,
        multipliers: Multipliers = (1, 2, 2),
        blocks: Depth = 2,
        attention: LevelsOf = (-1,),
        heads: Count = 1,
        dropout: Rate = 0.0,
        patch: Count = 1,
        **settings: Any,
    ):
        super().__init__(in_channels, 4 * width, **settings)
        self.patch = patch
        channels = [width * m for m in multipliers]
        attended = {level % len(channels) for level in attention}
        self.stem = magnitude.Conv2d(
            in_channels + self.cond_channels + 1, channels[0], 3 if patch == 1 else patch, stride=patch
        )

        def level(index: int) -> Level:
            inner = level(index + 1) if index + 1 < len(channels) else None
            heads_here = heads if index in attended else 0
            before = channels[max(index - 1, 0)]
            return Level(before, channels[index], inner, blocks, 4 * width, dropout, heads_here)

        self.levels = level(0)
        self.gain = nn.Parameter(torch.zeros(()))
        self.last = magnitude.Conv2d(channels[0], self.out_channels * patch**2, 3)
        self.to(memory_format=torch.channels_last)

    def before_step(self) -> None:
        """Sets the elements of all trained weights to magnitude 1, which changes their gradient but not the output."""
        for part in self.modules():
            if isinstance(part, magnitude.UnitRows) and part.weight.requires_grad:
                part.rescale()

    def forward(self, x: Tensor, log_snr: Tensor, cond: Condition | None = None) -> Tensor:
        height, width = x.shape[2:]
        h = torch.cat([self.with_image(x, cond), torch.ones_like(x[:, :1])], dim=1)  # the ones replace biases
        h = self.stem(F.pad(h, (0, -width % self.patch, 0, -height % self.patch)))
        h = self.levels(channels_last(h), self.embedding(log_snr, cond))
        with full_precision(x.device):
            h = self.gain * self.last(h.to(self.last.weight.dtype))
        return F.pixel_shuffle(h, self.patch)[:, :, :height, :width].to(x.dtype)


class Level(nn.Module):
    """The blocks of one resolution, with the coarser level `inner` in between; the coarsest has no `inner`.

    Maps [B, before, H, W] to [B, channels, H, W], conditioned on the embedding [B, E].
    """

    def __init__(
        self,
        before: int,
        channels: int,
        inner: Level | None,
        blocks: int,
        embedding: int,
        dropout: float,
        heads: int,
    ):
        super().__init__()
        self.channels = channels

        def chain(inputs: list[int], encodes: bool) -> nn.ModuleList:
            return nn.ModuleList(
                magnitude.Block(count, channels, embedding, dropout, heads, encodes) for count in inputs
            )

        self.down = chain([before] + [channels] * (blocks - 1), encodes=True)
        self.inner = inner
        joined = [inner.channels + channels] + [2 * channels] * (blocks - 1) if inner else [channels] * blocks
        self.up = chain(joined, encodes=False)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        skips = []
        for block in self.down:
            h = block(h, embedding)
            skips.append(h)
        if self.inner:
            coarse = self.inner(F.avg_pool2d(h, 2, ceil_mode=True), embedding)
            h = F.interpolate(coarse, size=h.shape[2:])
        for block in self.up:
            h = block(magnitude.joined(h, skips.pop()) if self.inner else h, embedding)
        return h
