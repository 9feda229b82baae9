"""Counter-based random numbers: pure functions of a key, without a state to save.

Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) on int64 tensors. Row i of a
result depends only on `keys[i]` and `stream`, not on the batch, the number of workers or, up to rounding of logarithm
and cosine, the device.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_CACHED = 1 << 15
"""Numbers whose intermediate results fit into the cache of a CPU core: more are 2 to 3 times slower each."""


@lru_cache
def _constants(device: torch.device, ndim: int) -> tuple[Tensor, Tensor]:
    """The multipliers [2, ...] and the key increments of the rounds [10, 2, ...], copied to a device once."""
    ones = [1] * ndim
    multipliers, weyl = (torch.tensor(pair, device=device).view(2, *ones) for pair in (_MULTIPLIERS, _WEYL))
    return multipliers, torch.arange(10, device=device).view(10, 1, *ones) * weyl


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Philox 4x32-10: four 32-bit words (in int64) from four counter words and two key words of one shape [...]."""
    c0, c1, c2, c3 = counter
    multipliers, bumps = _constants(c0.device, c0.ndim)
    even, odd, keys = torch.stack([c0, c2]), torch.stack([c1, c3]), torch.stack(key)
    for bump in bumps.unbind():
        product = (even * multipliers).flip(0)  # wraps around 2^64, all bits are kept
        even, odd = (product >> 32).bitwise_xor_(odd).bitwise_xor_(keys + bump).bitwise_and_(_MASK), product
    odd = odd & _MASK
    return even[0], odd[0], even[1], odd[1]


def _words(keys: Tensor, size: int, stream: int) -> Tensor:
    """Random 32-bit words [B, size], in int64."""
    blocks = -(-size // 4)
    position = torch.arange(blocks, device=keys.device).expand(len(keys), blocks)
    low = (keys & _MASK)[:, None].expand_as(position)
    high = ((keys >> 32) & _MASK)[:, None].expand_as(position)
    zero = torch.zeros_like(position)
    words = philox((position, zero + (stream & _MASK), zero, zero), (low, high))
    return torch.stack(words, dim=-1).flatten(1)[:, :size]


def uniform(keys: Tensor, size: int, stream: int = 0) -> Tensor:
    """Uniform float32 numbers [B, size] in [0, 1), row i a function of `keys[i]` (int64 [B]) and `stream`."""
    return (_words(keys, size, stream) >> 8).float() * 2.0**-24


def normal(keys: Tensor, size: int, stream: int = 0) -> Tensor:
    """Standard normal float32 numbers [B, size] by Box and Muller, row i a function of `keys[i]` and `stream`."""
    rows = max(1, _CACHED // max(1, size))
    if keys.device.type == "cpu" and len(keys) > rows:
        return torch.cat([normal(part, size, stream) for part in keys.split(rows)])
    half = -(-size // 2)
    words = _words(keys, 2 * half, stream) >> 8
    radius = ((words[:, :half] + 1).float() * 2.0**-24).log().mul(-2).sqrt()
    angle = words[:, half:].float() * (2.0**-23 * math.pi)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :size]


def _mix(x: Tensor) -> Tensor:
    """A 64-bit finaliser with wrapping arithmetic (the multipliers of SplitMix64)."""
    for shift, constant in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ ((x >> shift) & ((1 << (64 - shift)) - 1))) * (constant - (1 << 64))
    return x ^ ((x >> 31) & ((1 << 33) - 1))


def fold(key: int | Tensor, *data: int | Tensor) -> Tensor:
    """A new int64 key from a key and more data, e.g. `fold(seed, epoch, index)`; tensors [...] broadcast."""
    result = torch.as_tensor(key, dtype=torch.int64)
    for item in data:
        result = _mix(_mix(result + _GOLDEN) + item)
    return result
