"""Building blocks of convolutional classifiers: norms and activations by name, blocks, stochastic depth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

NormName = Literal["batch", "group", "none"]
ActivationName = Literal["relu", "gelu", "silu", "leaky_relu", "tanh"]

_GROUPS = 8
_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "group": lambda channels: nn.GroupNorm(_GROUPS if channels % _GROUPS == 0 else 1, channels),
    "none": lambda channels: nn.Identity(),
}
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.1),
    "tanh": nn.Tanh,
}


def _choose(table: dict, what: str, name: str):
    if name not in table:
        raise ValueError(f"no {what} is called {name!r}; choose from {', '.join(table)}")
    return table[name]


def make_norm(name: str, channels: int) -> nn.Module:
    """The normalisation `name` (batch, group, none) over `channels`; raises ValueError for an unknown name."""
    return _choose(_NORMS, "norm", name)(channels)


def make_activation(name: str) -> nn.Module:
    """The activation `name` (relu, gelu, silu, leaky_relu, tanh); raises ValueError for an unknown name."""
    return _choose(_ACTIVATIONS, "activation", name)()


def conv_block(
    in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1, norm: str = "batch", activation: str = "relu"
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
    """Rates that rise linearly from 0 in the first of `depth` blocks to `rate` in the last; raises ValueError."""
    if not 0 <= rate < 1:
        raise ValueError(f"drop_path must be in [0, 1), not {rate}")
    return [rate * i / max(depth - 1, 1) for i in range(depth)]


def require_classes(num_classes: int) -> None:
    """Raise ValueError unless `num_classes` is at least 1."""
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, not {num_classes}: a classifier needs labelled data")
