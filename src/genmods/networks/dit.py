"""DiT: a transformer over image patches, conditioned by adaLN-zero (Peebles and Xie 2023)."""

from __future__ import annotations

from typing import Annotated, Any

import torch
import torch.nn.functional as F
from annotated_types import MultipleOf
from torch import Tensor, nn

from genmods.core.settings import Channels, Count, DataChannels, Depth, Rate
from genmods.networks.base import Condition
from genmods.networks.blocks import attend, modulated, position_features, zeroed
from genmods.networks.conditional import ConditionalNetwork


class DiT(ConditionalNetwork):
    """Diffusion transformer, [B, in_channels, H, W] to [B, out_channels, H, W]; any height and width.

    Args:
        in_channels: Channels of the images.
        width: Size of a token, divisible by 4 and by `heads`.
        depth: Number of blocks.
        heads: Attention heads.
        patch: Side of the square patch that forms a token.
        dropout: Dropout rate.
        settings: `num_classes`, `cond_channels`, `cond_size` and `out_channels` of `ConditionalNetwork`.
    """

    def __init__(
        self,
        in_channels: DataChannels = 1,
        width: Annotated[Channels, MultipleOf(4), MultipleOf("heads")] = 128,
        depth: Depth = 6,
        heads: Count = 2,
        patch: Count = 2,
        dropout: Rate = 0.0,
        **settings: Any,
    ):
        super().__init__(in_channels, width, **settings)
        self.width, self.patch = width, patch
        self.stem = nn.Linear((in_channels + self.cond_channels) * patch**2, width)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, dropout) for _ in range(depth))
        self.modulation = zeroed(nn.Linear(width, 2 * width))
        self.last = zeroed(nn.Linear(width, self.out_channels * patch**2))

    def forward(self, x: Tensor, log_snr: Tensor, cond: Condition | None = None) -> Tensor:
        height, width = x.shape[2:]
        image = self.with_image(x, cond)
        patches = F.pixel_unshuffle(F.pad(image, (0, -width % self.patch, 0, -height % self.patch)), self.patch)
        rows, columns = patches.shape[2:]
        h = self.stem(patches.flatten(2).transpose(1, 2))
        h = h + position_features(rows, columns, self.width, x.device).to(h.dtype)
        embedding = self.embedding(log_snr, cond)
        for block in self.blocks:
            h = block(h, embedding)
        scale, shift = self.modulation(embedding)[:, None].chunk(2, dim=2)
        out = self.last(modulated(h, scale, shift)).transpose(1, 2).unflatten(2, (rows, columns))
        return F.pixel_shuffle(out, self.patch)[:, :, :height, :width].to(x.dtype)


class TransformerBlock(nn.Module):
    """Attention and a two-layer perceptron, each after a modulated norm, with gates initialised to zero."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.modulation = zeroed(nn.Linear(width, 6 * width))
        self.qkv = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.perceptron = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Dropout(dropout), nn.Linear(4 * width, width)
        )

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        """Tokens `h` [B, N, width], conditioned on `embedding` [B, E], to the same shape."""
        scale1, shift1, gate1, scale2, shift2, gate2 = self.modulation(embedding)[:, None].chunk(6, dim=2)
        h = torch.addcmul(h, gate1, self.merge(attend(self.qkv(modulated(h, scale1, shift1)), self.heads)))
        return torch.addcmul(h, gate2, self.perceptron(modulated(h, scale2, shift2)))
