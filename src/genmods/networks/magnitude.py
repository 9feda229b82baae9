"""Layers that preserve the magnitude of activations (EDM2: Karras et al. 2024, "Analyzing and improving the training
dynamics of diffusion models", configuration G).

The magnitude of activations is their root mean square, 1 for unit variance. Layers without biases have weights whose
rows are divided by their norm in each call, and sums, concatenations, SiLU and Fourier features are scaled so that
inputs of magnitude 1 have outputs of magnitude 1, if they are independent. Activations can then neither grow nor
collapse in training, without norms that would couple the pixels of an image.

The scale of the stored weights has no effect on the output, but it divides their gradient: updates at right angles to
the weights enlarge them, so that training would slow down. Rows are therefore stored with elements of magnitude 1
again before each training batch ("forced weight normalization"), which gives the learning rate one meaning throughout.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genmods.core.devices import full_precision
from genmods.networks.base import Condition
from genmods.networks.blocks import (
    attend,
    check_heads,
    end_features,
    guidance_features,
    noise_features,
    numbers,
    row_of_label,
)

SILU_MAGNITUDE = 0.596
"""The root mean square of SiLU of a standard normal number."""
BRANCH = 0.3
"""The weight of a residual branch in the sum with its input."""
LARGEST = 256.0
"""Activations are clipped to ± this value after each block."""
_LEAST = 1e-4


def silu(x: Tensor) -> Tensor:
    """SiLU of `x` [...], scaled to magnitude 1 for standard normal inputs."""
    return F.silu(x) / SILU_MAGNITUDE


def added(x: Tensor, other: Tensor, weight: float) -> Tensor:
    """(1 - weight) `x` + weight `other`, both [...], scaled to magnitude 1."""
    return torch.lerp(x, other, weight) / math.hypot(1 - weight, weight)


def joined(x: Tensor, other: Tensor) -> Tensor:
    """`x` [B, C, H, W] and `other` [B, D, H, W] concatenated along the channels, of magnitude 1 and with equal
    contributions to the next layer whatever C and D are."""
    channels = (x.shape[1], other.shape[1])
    total = math.sqrt(sum(channels) / 2)
    return torch.cat([total / math.sqrt(count) * part for count, part in zip(channels, (x, other), strict=True)], dim=1)


def normalized(x: Tensor, dim: int = 1) -> Tensor:
    """`x` [...] divided by its root mean square along `dim`: pixel norm for images [B, C, H, W]."""
    width = math.sqrt(x.shape[dim])
    return width * F.normalize(x, dim=dim, eps=_LEAST * width)


class UnitRows(nn.Module):
    """A layer whose `weight` [rows, ...] acts with rows of norm 1, whatever their stored scale is."""

    weight: Tensor

    def reset_parameters(self) -> None:
        """Initialises the weight to standard normal numbers."""
        nn.init.normal_(self.weight)

    def unit(self) -> Tensor:
        """The weight with rows of norm 1."""
        return F.normalize(self.weight.flatten(1), dim=1).view(self.weight.shape)

    @torch.no_grad()
    def rescale(self) -> None:
        """Sets the stored elements of each row to magnitude 1."""
        self.weight.copy_(math.sqrt(self.weight[0].numel()) * self.unit())


class Linear(UnitRows, nn.Linear):
    """Linear layer without bias, [..., in] to [..., out], of magnitude 1; `parts` layers are fused in its rows."""

    def __init__(self, in_features: int, out_features: int, parts: int = 1):
        super().__init__(in_features, parts * out_features, bias=False)
        self.parts = parts

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.unit())


class Conv2d(UnitRows, nn.Conv2d):
    """Convolution without bias, [B, in, H, W] to [B, out, H', W'], of magnitude 1; padded unless it has a stride."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1):
        super().__init__(in_channels, out_channels, kernel, stride, kernel // 2 if stride == 1 else 0, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.unit(), None, self.stride, self.padding)


class Table(UnitRows, nn.Embedding):
    """A table of vectors of magnitude 1: int64 [B] to [B, size]."""

    def forward(self, index: Tensor) -> Tensor:
        return normalized(super().forward(index))


class Gained(nn.Module):
    """A linear layer with a learned gain that starts at zero, [..., in] to [..., out]."""

    def __init__(self, in_features: int, out_features: int):
        super().__init__()
        self.layer = Linear(in_features, out_features)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * self.layer(x)


class Embedding(nn.Module):
    """Embeds the log-SNR [B] and the condition in one vector [B, size] of magnitude 1.

    The condition is that of `genmods.networks.blocks.Embedding`, and so are the errors.
    """

    def __init__(
        self, size: int, num_classes: int = 0, cond_size: int = 0, two_times: bool = False, guided: bool = False
    ):
        super().__init__()
        self.size, self.num_classes, self.cond_size = size, num_classes, cond_size
        self.noise = Linear(size, size)
        self.label = Table(num_classes + 1, size) if num_classes else None  # row 0 is the null label
        self.vector = Linear(2 * cond_size, size) if cond_size else None
        self.end = Gained(size, size) if two_times else None
        self.guidance = Gained(size, size) if guided else None

    def forward(self, log_snr: Tensor, cond: Condition | None = None) -> Tensor:
        with full_precision(log_snr.device):
            features = noise_features(log_snr, self.size).to(next(self.parameters()).dtype)
            out = self.noise(math.sqrt(2) * features)
            if self.label is not None:
                out = added(out, row_of_label(self.label, log_snr, cond), 0.5)
            if self.vector is not None:
                out = added(out, self.vector(numbers(out, cond, self.cond_size)), 0.5)
            for part, of in ((self.end, end_features), (self.guidance, guidance_features)):
                if part is not None:
                    out = out + part(math.sqrt(2) * of(log_snr, cond or {}, self.size).to(out))
            return silu(out)


class Block(nn.Module):
    """Residual block with self-attention if `heads` > 0, [B, in, H, W] to [B, out, H, W]; scaled by the embedding.

    A block of the encoder normalises its input per pixel; one of the decoder does not.
    """

    def __init__(self, in_channels: int, out_channels: int, embedding: int, dropout: float, heads: int, encodes: bool):
        super().__init__()
        self.encodes = encodes
        self.skip = nn.Identity() if in_channels == out_channels else Conv2d(in_channels, out_channels, 1)
        self.conv = Conv2d(out_channels if encodes else in_channels, out_channels, 3)
        self.scale = Gained(embedding, out_channels)
        self.dropout = nn.Dropout(dropout)
        self.last = Conv2d(out_channels, out_channels, 3)
        self.attention = Attention(out_channels, heads) if heads else None

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        if self.encodes:
            x = normalized(self.skip(x))
        h = self.conv(silu(x)) * (1 + self.scale(embedding)[:, :, None, None])
        h = self.last(self.dropout(silu(h)))
        x = added(x if self.encodes else self.skip(x), h, BRANCH)
        if self.attention is not None:
            x = self.attention(x)
        return x.clamp(-LARGEST, LARGEST)


class Attention(nn.Module):
    """Residual self-attention over the pixels, [B, C, H, W] to the same shape; queries, keys and values are normalised
    per head (cosine attention)."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        check_heads(channels, heads)
        self.heads = heads
        self.qkv = Linear(channels, channels, parts=3)
        self.last = Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x.flatten(2).transpose(1, 2)).unflatten(2, (3 * self.heads, -1))
        h = self.last(attend(normalized(qkv, dim=3).flatten(2), self.heads))
        return added(x, h.transpose(1, 2).unflatten(2, x.shape[2:]), BRANCH)
