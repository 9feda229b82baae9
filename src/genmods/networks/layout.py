"""The memory format of convolutional networks, channels-last or contiguous, and the norm that depends on it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

_LANES = 16


def memory_format(network: nn.Module) -> torch.memory_format:
    """The memory format for training `network`: channels-last, or contiguous if channels-last would corrupt memory.

    Channels-last is faster (1.2 to 1.7 times on a CPU). On the CPU, however, the weight gradient of a strided 1x1
    convolution in channels-last with fewer input channels than vector lanes (8 for AVX2, 16 for AVX-512) is written
    past its workspace: it crashes, hangs, or returns wrong gradients without an error
    (https://github.com/uxlfoundation/oneDNN/issues/6035, in all releases of torch up to 2.15). Memory formats propagate
    between layers, so a single such layer makes the whole network contiguous. Among the networks of genmods only a
    `cnn` can contain one; in timm, FastViT does.
    """
    overruns = any(isinstance(layer, nn.Conv2d) and _overruns(layer) for layer in network.modules())
    return torch.contiguous_format if overruns else torch.channels_last


def channels_last(x: Tensor) -> Tensor:
    """`x` [B, C, H, W] in channels-last memory; replaces `contiguous`, which `torch.func.vmap` does not support."""
    return x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


class GroupNorm(nn.GroupNorm):
    """`torch.nn.GroupNorm` whose derivative in forward mode accepts channels-last images [B, C, H, W] in every torch.

    Before torch 2.14 that derivative reshapes by `view` and fails for any other format than contiguous.
    """

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input if forward_ad._current_level < 0 else input.contiguous())


def _overruns(layer: nn.Conv2d) -> bool:
    return layer.kernel_size == (1, 1) and max(layer.stride) > 1 and layer.in_channels < _LANES
