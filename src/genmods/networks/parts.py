"""Building blocks of convolutional classifiers: norms and activations by name, blocks, stochastic depth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le, Lt, MaxLen, MinLen
from torch import Tensor, nn

from genmods.networks.layout import GroupNorm

NormName = Literal["batch", "group", "none"]
ActivationName = Literal["relu", "gelu", "silu", "leaky_relu", "tanh"]
Multipliers = Annotated[tuple[Annotated[int, Ge(1), Le("16384 // width")], ...], MinLen(1), MaxLen(16)]
"""The channels of each level in units of the setting `width`."""
LevelsOf = tuple[Annotated[int, Ge("-len(multipliers)"), Lt("len(multipliers)")], ...]
"""Some of the levels of the setting `multipliers`; -1 is the last."""

_GROUPS = 8
_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "group": lambda channels: GroupNorm(_GROUPS if channels % _GROUPS == 0 else 1, channels),
    "none": lambda channels: nn.Identity(),
}
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.1),
    "tanh": nn.Tanh,
}


def make_norm(name: NormName, channels: int) -> nn.Module:
    """The normalisation `name` over `channels`."""
    return _NORMS[name](channels)


def make_activation(name: ActivationName) -> nn.Module:
    """The activation `name`."""
    return _ACTIVATIONS[name]()


def conv_block(
    in_channels: int,
    out_channels: int,
    kernel: int = 3,
    stride: int = 1,
    norm: NormName = "batch",
    activation: ActivationName = "relu",
) -> nn.Sequential:
    """Convolution, normalisation, activation: [B, in, H, W] -> [B, out, H', W'], H' = ceil(H / stride), odd kernels."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, (kernel - 1) // 2, bias=norm == "none")
    return nn.Sequential(conv, make_norm(norm, out_channels), make_activation(activation))


def init_he(module: nn.Module) -> None:
    """He initialisation (fan-out) of all convolutions in `module` (He et al., 2015, eq. 14)."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)


class DropPath(nn.Module):
    """Stochastic depth: drops the residual branch [B, ...] of a sample with probability `rate` (Huang et al., 2016)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if self.rate == 0 or not self.training:
            return x
        keep = 1 - self.rate
        mask = torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device) < keep
        return x * (mask / keep).to(x.dtype)


def drop_rates(rate: float, depth: int) -> list[float]:
    """Rates that rise linearly from 0 in the first of `depth` blocks to `rate` in the last."""
    return [rate * i / max(depth - 1, 1) for i in range(depth)]
