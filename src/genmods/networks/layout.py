"""Which of torch's two memory layouts the filters and images of a convolutional network have."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_LANES = 16


def memory_format(network: nn.Module) -> torch.memory_format:
    """The layout to train `network` in: channels-last, or contiguous where channels-last would corrupt memory.

    Channels-last is the faster one (1.2 to 1.7 times on a CPU). But on the CPU the weight gradient of a strided 1x1
    convolution in channels-last, with fewer input channels than a vector has lanes (8 for AVX2, 16 for AVX-512), is
    written past its workspace: a crash, a hang, or gradients that are wrong without a word
    (https://github.com/uxlfoundation/oneDNN/issues/6035, in every release of torch up to 2.15). The layouts of
    neighbouring layers follow each other, so one such layer makes the whole network contiguous. No network of genmods
    has one unless a `cnn` is written with it; in timm, FastViT does.
    """
    overruns = any(isinstance(layer, nn.Conv2d) and _overruns(layer) for layer in network.modules())
    return torch.contiguous_format if overruns else torch.channels_last


def channels_last(x: Tensor) -> Tensor:
    """`x` [B, C, H, W] in channels-last memory; in place of `contiguous`, which `torch.func.vmap` does not take."""
    return x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def _overruns(layer: nn.Conv2d) -> bool:
    return layer.kernel_size == (1, 1) and max(layer.stride) > 1 and layer.in_channels < _LANES
