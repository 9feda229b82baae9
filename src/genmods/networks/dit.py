"""DiT: a transformer over image patches, conditioned by adaLN-zero (Peebles and Xie 2023)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from annotated_types import MultipleOf
from torch import Tensor, nn

from genmods.core.settings import Channels, Count, DataChannels, Depth, Rate
from genmods.networks.base import Condition
from genmods.networks.blocks import FusedLinear, attend, modulated, position_features, rotated, zeroed
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
        positions: "sinusoidal" features that are added to the tokens, or "rotary" embeddings of queries and keys
            (RoPE), which require `width` / `heads` to be a multiple of 4.
        qk_norm: Whether queries and keys are normalised per head (Dehghani et al. 2023), with a learned scale.
        perceptron: A layer of "gelu" units, or gated "swiglu" units (Shazeer 2020) with as many parameters.
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
        positions: Literal["sinusoidal", "rotary"] = "sinusoidal",
        qk_norm: bool = False,
        perceptron: Literal["gelu", "swiglu"] = "gelu",
        **settings: Any,
    ):
        if positions == "rotary" and width // heads % 4:
            raise ValueError(f"width must be a multiple of 4 heads = {4 * heads} with rotary positions, got {width}")
        super().__init__(in_channels, width, **settings)
        self.width, self.patch, self.rotary = width, patch, positions == "rotary"
        self.stem = nn.Linear((in_channels + self.cond_channels) * patch**2, width)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, heads, dropout, qk_norm, perceptron == "swiglu") for _ in range(depth)
        )
        self.modulation = zeroed(FusedLinear(width, width, 2))
        self.last = zeroed(nn.Linear(width, self.out_channels * patch**2))

    def forward(self, x: Tensor, log_snr: Tensor, cond: Condition | None = None) -> Tensor:
        height, width = x.shape[2:]
        image = self.with_image(x, cond)
        patches = F.pixel_unshuffle(F.pad(image, (0, -width % self.patch, 0, -height % self.patch)), self.patch)
        rows, columns = patches.shape[2:]
        h = self.stem(patches.flatten(2).transpose(1, 2))
        if not self.rotary:
            h = h + position_features(rows, columns, self.width, x.device).to(h.dtype)
        embedding, sides = self.embedding(log_snr, cond), (rows, columns) if self.rotary else None
        for block in self.blocks:
            h = block(h, embedding, sides)
        scale, shift = self.modulation(embedding)[:, None].chunk(2, dim=2)
        out = self.last(modulated(h, scale, shift)).transpose(1, 2).unflatten(2, (rows, columns))
        return F.pixel_shuffle(out, self.patch)[:, :, :height, :width].to(x.dtype)


class TransformerBlock(nn.Module):
    """Attention and a perceptron, each after a modulated norm, with gates initialised to zero."""

    def __init__(self, width: int, heads: int, dropout: float, qk_norm: bool = False, gated: bool = False):
        super().__init__()
        self.heads = heads
        self.modulation = zeroed(FusedLinear(width, width, 6))
        self.qkv = FusedLinear(width, width, 3)
        self.norms = nn.ModuleList(nn.RMSNorm(width // heads) for _ in range(2 if qk_norm else 0))
        self.merge = nn.Linear(width, width)
        self.perceptron = SwiGLU(width, dropout) if gated else perceptron(width, dropout)

    def forward(self, h: Tensor, embedding: Tensor, sides: tuple[int, int] | None = None) -> Tensor:
        """Tokens `h` [B, N, width], conditioned on `embedding` [B, E], to the same shape; rows and columns `sides` for
        rotary positions."""
        scale1, shift1, gate1, scale2, shift2, gate2 = self.modulation(embedding)[:, None].chunk(6, dim=2)

        def prepare(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
            if self.norms:
                q, k = (norm(x) for norm, x in zip(self.norms, (q, k), strict=True))
            return (rotated(q, *sides), rotated(k, *sides)) if sides else (q, k)

        h = torch.addcmul(h, gate1, self.merge(attend(self.qkv(modulated(h, scale1, shift1)), self.heads, prepare)))
        return torch.addcmul(h, gate2, self.perceptron(modulated(h, scale2, shift2)))


def perceptron(width: int, dropout: float) -> nn.Sequential:
    """Two layers with GELU in between, [..., width] to the same shape."""
    return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Dropout(dropout), nn.Linear(4 * width, width))


class SwiGLU(nn.Module):
    """W2 (silu(a) b), a and b = W1 x, [..., width] to the same shape; as many parameters as `perceptron`."""

    def __init__(self, width: int, dropout: float):
        super().__init__()
        hidden = round(8 * width / 3)
        self.first, self.dropout, self.last = (
            FusedLinear(width, hidden, 2),
            nn.Dropout(dropout),
            nn.Linear(hidden, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.first(x).chunk(2, dim=-1)
        return self.last(self.dropout(F.silu(gate) * value))
