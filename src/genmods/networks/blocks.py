"""Building blocks of the denoising networks: embeddings of noise level and label, residual block, attention.

Norm. Every norm is a group norm with a single group. Unlike several groups, it is fast on a CPU in channels-last
memory, the layout preferred by bfloat16 convolutions (64 x 32 x 32 x 32, forward and backward: 1 ms, with 32 groups 29
ms).

Conditioning. The log-SNR and the label are embedded in one vector [B, E], from which each block computes a scale and a
shift per channel (FiLM). The last layer of a block is initialised to zero, so that the block starts as the identity.
The embedding is computed in float32 also under autocast, because bfloat16 cannot distinguish neighbouring noise levels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from genmods.core.devices import full_precision
from genmods.core.printable import counted
from genmods.networks.base import Condition
from genmods.networks.layout import GroupNorm

Module = TypeVar("Module", bound=nn.Module)


def zeroed(module: Module) -> Module:
    """Set all parameters of `module` to zero, so that a residual branch that it ends starts at zero; returns it."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


class FusedLinear(nn.Linear):
    """`parts` linear layers of equal size in one, [..., in] to [..., parts * out]; Muon may treat them separately."""

    def __init__(self, in_features: int, out_features: int, parts: int):
        super().__init__(in_features, parts * out_features)
        self.parts = parts


def noise_features(log_snr: Tensor, size: int) -> Tensor:
    """Fourier features [B, size] of the log-SNR [B], angular frequencies 0.1 to 4 per nat; `size` must be even."""
    exponents = torch.linspace(math.log(0.1), math.log(4.0), size // 2, device=log_snr.device, dtype=log_snr.dtype)
    angles = log_snr[:, None] * exponents.exp()
    return torch.cat([angles.cos(), angles.sin()], dim=1)


TIME_RANGE = 8.0
"""The time of rectified flow, in [0, 1], is scaled to this range before its features are computed."""


def added(size: int) -> nn.Sequential:
    """An embedding of features [B, size] that starts at zero."""
    return nn.Sequential(nn.Linear(size, size), nn.SiLU(), zeroed(nn.Linear(size, size)))


def end_features(log_snr: Tensor, cond: Condition, size: int) -> Tensor:
    """Features [B, size] of the end of a step, `cond["end"]`, by default `log_snr` [B]; bounded where it is not."""
    time = torch.sigmoid(-cond.get("end", log_snr).to(log_snr) / 2)
    return noise_features(TIME_RANGE * time, size)


def guidance_features(log_snr: Tensor, cond: Condition, size: int) -> Tensor:
    """Features [B, size] of the guidance scale `cond["guidance"]`, by default 1; like `log_snr` [B]."""
    scale = cond.get("guidance")
    return noise_features(torch.zeros_like(log_snr) if scale is None else scale.to(log_snr).log(), size)


def numbers(like: Tensor, cond: Condition | None, size: int) -> Tensor:
    """The condition's vector [B, size], with 0 for unknown entries, concatenated with a mask of the known ones,
    [B, 2 size] like `like` [B, ...]. Raises ValueError if it has another size."""
    vector = cond.get("vector") if cond else None
    if vector is None:
        return like.new_zeros(len(like), 2 * size)
    if vector.shape != (len(like), size):
        expected = (len(like), size)
        raise ValueError(f"cond['vector'] must have the shape {expected} of cond_size, got {tuple(vector.shape)}")
    return torch.cat([vector.nan_to_num(0.0), (~vector.isnan()).to(vector)], dim=1).to(like)


def row_of_label(table: nn.Embedding, log_snr: Tensor, cond: Condition | None) -> Tensor:
    """The rows [B, size] of a `table` of labels from -1, the default, on; like `log_snr` [B]. Raises ValueError, on the
    CPU, for a label out of range."""
    if not cond or "label" not in cond:
        return table(torch.zeros_like(log_snr, dtype=torch.int64))
    label = cond["label"]
    try:
        return table(label + 1)
    except IndexError:
        raise ValueError(
            f"labels must lie in [-1, {table.num_embeddings - 2}] (-1: no label), "
            f"got {int(label.min())} to {int(label.max())}"
        ) from None


class Embedding(nn.Module):
    """Embeds the log-SNR [B] and the condition's label and vector in one vector [B, size].

    Labels are int64 [B] from -1 to num_classes - 1; -1, or a missing label, is the null condition. With `num_classes`
    0 labels are ignored. The vector is float [B, cond_size] of about unit variance; NaN, or a missing vector, means
    unknown. The call raises ValueError for a vector of another size, and, on the CPU, for a label out of range.

    With `two_times`, the log-SNR `end` [B] at the end of a step is embedded by its time τ = 1/(1 + α/σ) of rectified
    flow; if missing, it is the log-SNR itself. With `guided`, the scale `guidance` [B] is embedded by its logarithm; if
    missing, it is 1. Both embeddings start at zero, so that a network of an earlier run is first unchanged by them.
    """

    def __init__(
        self, size: int, num_classes: int = 0, cond_size: int = 0, two_times: bool = False, guided: bool = False
    ):
        super().__init__()
        self.size, self.num_classes, self.cond_size = size, num_classes, cond_size
        self.noise = nn.Sequential(nn.Linear(size, size), nn.SiLU(), nn.Linear(size, size))
        self.label: Any = nn.Embedding(num_classes + 1, size) if num_classes else None  # row 0 is the null label
        self.vector = None
        if cond_size:
            self.vector = nn.Sequential(nn.Linear(2 * cond_size, size), nn.SiLU(), nn.Linear(size, size))
        self.end = added(size) if two_times else None
        self.guidance = added(size) if guided else None

    def forward(self, log_snr: Tensor, cond: Condition | None = None) -> Tensor:
        with full_precision(log_snr.device):
            out = self.noise(noise_features(log_snr, self.size).to(next(self.parameters()).dtype))
        if self.label is not None:
            out = out + row_of_label(self.label, log_snr, cond)
        if self.vector is not None:
            with full_precision(log_snr.device):
                out = out + self.vector(numbers(out, cond, self.cond_size))
        for part, features in ((self.end, end_features), (self.guidance, guidance_features)):
            if part is not None:
                with full_precision(log_snr.device):
                    out = out + part(features(log_snr, cond or {}, self.size).to(out))
        return F.silu(out)


class Block(nn.Module):
    """Residual block, [B, in, H, W] to [B, out, H, W]: twice norm, SiLU, convolution; FiLM after the second norm."""

    def __init__(self, in_channels: int, out_channels: int, embedding: int, dropout: float = 0.0):
        super().__init__()
        self.norm = GroupNorm(1, in_channels)
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.plain_norm = GroupNorm(1, out_channels, affine=False)
        self.film = zeroed(FusedLinear(embedding, out_channels, 2))
        self.dropout = nn.Dropout(dropout)
        self.last = zeroed(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.skip = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.film(embedding)[:, :, None, None].chunk(2, dim=1)
        h = self.conv(F.silu(self.norm(x)))
        h = torch.addcmul(shift, self.plain_norm(h), 1 + scale)
        return self.skip(x) + self.last(self.dropout(F.silu(h)))


class ResidualBlock(nn.Module):
    """Residual block without conditioning, [B, channels, H, W] to the same shape, with or without norms."""

    def __init__(self, channels: int, normalized: bool = True):
        super().__init__()

        def half(last: nn.Module) -> list[nn.Module]:
            return [GroupNorm(1, channels) if normalized else nn.Identity(), nn.SiLU(), last]

        first, last = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.layers = nn.Sequential(*half(first), *half(zeroed(last)))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Head(nn.Module):
    """Norm, SiLU and a zero-initialised convolution, [B, channels, H, W] to [B, out_channels, H, W].

    The convolution is computed in float32 also under autocast: rounding the output to bfloat16 would harm sampling and
    likelihoods. This costs 2 % of a step.
    """

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.norm = GroupNorm(1, channels)
        self.last = zeroed(nn.Conv2d(channels, out_channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        h = F.silu(self.norm(x))
        with full_precision(x.device):
            return self.last(h.to(self.last.weight.dtype))


def modulated(tokens: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """(1 + `scale`) layer_norm(`tokens`) + `shift`, for `tokens` [..., C]."""
    return torch.addcmul(shift, F.layer_norm(tokens, tokens.shape[-1:]), 1 + scale)


def check_heads(channels: int, heads: int) -> None:
    """Raises ValueError unless `heads` divides `channels`."""
    if heads < 1 or channels % heads:
        raise ValueError(f"heads is {heads}: it must divide the {counted(channels, 'channel')} of its level")


class Attention(nn.Module):
    """Residual self-attention over the pixels of an image, [B, C, H, W] to the same shape."""

    def __init__(self, channels: int, heads: int = 1):
        super().__init__()
        check_heads(channels, heads)
        self.heads = heads
        self.norm = GroupNorm(1, channels)
        self.qkv = FusedLinear(channels, channels, 3)
        self.last = zeroed(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        h = attend(self.qkv(tokens), self.heads)
        return x + self.last(h).transpose(1, 2).unflatten(2, x.shape[2:])


Prepare = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Maps queries and keys [B, heads, N, C] to those that are compared."""


def attend(qkv: Tensor, heads: int, prepare: Prepare | None = None) -> Tensor:
    """Softmax attention: concatenated queries, keys and values [B, N, 3 C] to [B, N, C].

    On a CPU it runs in float32 also under autocast, because narrow heads are several times slower in bfloat16.
    """
    q, k, v = qkv.unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    if prepare is not None:
        q, k = prepare(q, k)
    if qkv.device.type == "cpu":
        wide = torch.promote_types(qkv.dtype, torch.float32)
        with full_precision(qkv.device):
            out = weighted(q.to(wide), k.to(wide), v.to(wide)).to(qkv.dtype)
    else:
        out = weighted(q, k, v)
    return out.transpose(1, 2).flatten(2)


def weighted(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scaled dot-product attention of queries, keys and values [B, heads, N, C].

    Uses a fused kernel unless a forward-mode derivative is taken (`torch.func.jvp`), which the fused ones do not
    support.
    """
    try:
        return F.scaled_dot_product_attention(q, k, v)
    except NotImplementedError:
        with sdpa_kernel(SDPBackend.MATH):
            return F.scaled_dot_product_attention(q, k, v)


def position_features(rows: int, columns: int, size: int, device: torch.device) -> Tensor:
    """Sinusoidal position encoding [rows * columns, size]: wavelengths 2 pi to 200 pi; `size` is a multiple of 4."""
    frequencies = torch.logspace(0, -2, size // 4, device=device)
    parts = []
    for count, shape in ((rows, (rows, 1, -1)), (columns, (1, columns, -1))):
        angles = torch.arange(count, device=device)[:, None] * frequencies
        waves = torch.cat([angles.sin(), angles.cos()], dim=1)
        parts.append(waves.view(shape).expand(rows, columns, -1))
    return torch.cat(parts, dim=2).flatten(0, 1)


def rotated(x: Tensor, rows: int, columns: int) -> Tensor:
    """Rotary position embedding in two dimensions (Su et al. 2021) of `x` [..., rows * columns, C].

    Pairs of channels are rotated, those of the first half by angles proportional to the row, those of the second to the
    column, with wavelengths as in `position_features`: products of queries and keys depend on the differences of their
    positions. C is a multiple of 4.
    """
    frequencies = torch.logspace(0, -2, x.shape[-1] // 4, device=x.device)
    row = torch.arange(rows, device=x.device).repeat_interleave(columns)
    column = torch.arange(columns, device=x.device).repeat(rows)
    angles = torch.cat([row[:, None] * frequencies, column[:, None] * frequencies], dim=1)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([cos * first - sin * second, sin * first + cos * second], dim=-1).flatten(-2)
