"""Residual networks.

`ResNet` is the post-activation network (He et al., "Deep residual learning", CVPR 2016) with basic or bottleneck blocks
and torchvision's parameter names; `WideResNet` is the pre-activation network (Zagoruyko and Komodakis, 2016). The small
stem, a 3x3 convolution at full resolution, is for images of 8 to 64 pixels, the large one (7x7, stride 2, pooling) for
larger images.

Where the resolution halves, the shortcut averages 2x2 pixels before its 1x1 convolution (ResNet-D: He et al., "Bag of
tricks for image classification with convolutional neural networks", CVPR 2019). The strided 1x1 convolution of the
original uses one of four pixels, and oneDNN cannot train it with few channels (see `genmods.networks.layout`).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated, Literal

import torch.nn.functional as F
from annotated_types import Ge, Le, MaxLen, MinLen
from torch import Tensor, nn

from genmods.core.limits import Remainder
from genmods.core.settings import Channels, Classes, DataChannels, Depth, Rate
from genmods.networks.base import Network
from genmods.networks.parts import DropPath, drop_rates, init_he

ShortcutName = Literal["pooled", "strided"]


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False)


def _pool(stride: int) -> nn.Module:
    """Mean over `stride` x `stride` pixels, [B, C, H, W] -> [B, C, H', W'], H' = ceil(H / stride)."""
    return nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False)


def _shortcut(in_channels: int, out_channels: int, stride: int, kind: ShortcutName) -> nn.Sequential | None:
    if stride == 1 and in_channels == out_channels:
        return None
    pooled = stride > 1 and kind == "pooled"
    layers = OrderedDict[str, nn.Module](pool=_pool(stride)) if pooled else OrderedDict[str, nn.Module]()
    layers["0"] = _conv(in_channels, out_channels, 1, 1 if pooled else stride)  # the names of torchvision
    layers["1"] = nn.BatchNorm2d(out_channels)
    return nn.Sequential(layers)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a residual connection: [B, in, H, W] -> [B, width, H / stride, W / stride]."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, drop_path: float, shortcut: ShortcutName) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(in_channels, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3), nn.BatchNorm2d(width)
        self.downsample = _shortcut(in_channels, width, stride, shortcut)
        self.drop_path = DropPath(drop_path)
        nn.init.zeros_(self.bn2.weight)  # each block starts as the identity (Goyal et al., 2017)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.bn1(self.conv1(x)))
        h = self.drop_path(self.bn2(self.conv2(h)))
        return F.relu(h + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a residual connection: [B, in, H, W] -> [B, 4 width, H / stride, W / stride]."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, drop_path: float, shortcut: ShortcutName) -> None:
        super().__init__()
        out_channels = self.expansion * width
        self.conv1, self.bn1 = _conv(in_channels, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = _conv(width, out_channels, 1), nn.BatchNorm2d(out_channels)
        self.downsample = _shortcut(in_channels, out_channels, stride, shortcut)
        self.drop_path = DropPath(drop_path)
        nn.init.zeros_(self.bn3.weight)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.bn1(self.conv1(x)))
        h = F.relu(self.bn2(self.conv2(h)))
        h = self.drop_path(self.bn3(self.conv3(h)))
        return F.relu(h + (x if self.downsample is None else self.downsample(x)))


class ResNet(Network):
    """A residual network for images [B, in_channels, H, W]; the default is ResNet-18 with a small-image stem.

    ResNet-50 is `blocks=(3, 4, 6, 3), block="bottleneck"`; `shortcut="strided", stem="large"` is compatible with
    torchvision's weights.

    Args:
        width: Channels of the first stage, doubled in each further stage.
        blocks: Residual blocks of each stage.
        block: "basic" or "bottleneck".
        stem: "small" (3x3) or "large" (7x7, stride 2, pooling).
        shortcut: "pooled" (ResNet-D) or "strided".
        dropout: Dropout rate before the head.
        drop_path: Stochastic depth rate of the last block, rising linearly from 0.
        in_channels: Channels of the images.
        num_classes: Number of classes.
    """

    def __init__(
        self,
        width: Channels = 64,
        blocks: Annotated[tuple[Depth, ...], MinLen(1), MaxLen(8)] = (2, 2, 2, 2),
        block: Literal["basic", "bottleneck"] = "basic",
        stem: Literal["small", "large"] = "small",
        shortcut: ShortcutName = "pooled",
        dropout: Rate = 0.0,
        drop_path: Rate = 0.0,
        in_channels: DataChannels = 1,
        num_classes: Classes = 10,
    ) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, width, 3) if stem == "small" else _conv(in_channels, width, 7, 2)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.Identity() if stem == "small" else nn.MaxPool2d(3, 2, padding=1)
        kind = BasicBlock if block == "basic" else Bottleneck
        rates = iter(drop_rates(drop_path, sum(blocks)))
        channels, self.stages = width, [f"layer{i + 1}" for i in range(len(blocks))]
        for i, (stage, depth) in enumerate(zip(self.stages, blocks, strict=True)):
            layers = []
            for j in range(depth):
                layers.append(kind(channels, width * 2**i, 2 if i > 0 and j == 0 else 1, next(rates), shortcut))
                channels = width * 2**i * kind.expansion
            self.add_module(stage, nn.Sequential(*layers))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)
        init_he(self)

    def features(self, x: Tensor) -> Tensor:
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        return x.mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.dropout(self.features(x)))


class PreActivationBlock(nn.Module):
    """Twice norm, ReLU, 3x3 convolution, and a shortcut: [B, in, H, W] -> [B, width, H / stride, W / stride]."""

    def __init__(self, in_channels: int, width: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(in_channels), _conv(in_channels, width, 3, stride)
        self.norm2, self.conv2 = nn.BatchNorm2d(width), _conv(width, width, 3)
        self.dropout = nn.Dropout(dropout)
        self.shortcut = None if stride == 1 and in_channels == width else _conv(in_channels, width, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm1(x))
        skip = x if self.shortcut is None else self.shortcut(h)
        h = self.conv1(h)
        h = self.conv2(self.dropout(F.relu(self.norm2(h))))
        return skip + h


class WideResNet(Network):
    """A wide residual network, WRN-`depth`-`widen`, for images [B, in_channels, H, W] (Zagoruyko and Komodakis, 2016).

    Args:
        depth: Number of layers, 6 n + 4 (10, 16, 22, 28, 40, ...).
        widen: Factor on 16, 32 and 64 channels.
        dropout: Dropout rate between the convolutions of a block.
        in_channels: Channels of the images.
        num_classes: Number of classes.
    """

    def __init__(
        self,
        depth: Annotated[Depth, Ge(10), Remainder(6, 4)] = 16,
        widen: Annotated[int, Ge(1), Le(256)] = 4,
        dropout: Rate = 0.0,
        in_channels: DataChannels = 1,
        num_classes: Classes = 10,
    ) -> None:
        super().__init__()
        self.stem = _conv(in_channels, 16, 3)
        channels, stages = 16, []
        for i, width in enumerate((16 * widen, 32 * widen, 64 * widen)):
            blocks = []
            for j in range(depth // 6):
                blocks.append(PreActivationBlock(channels, width, 2 if i > 0 and j == 0 else 1, dropout))
                channels = width
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.norm = nn.BatchNorm2d(channels)
        self.head = nn.Linear(channels, num_classes)
        init_he(self)

    def features(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.stages(self.stem(x)))).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))
