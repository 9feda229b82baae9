"""A plain convolutional network, described by a list of layers, with a linear head.

conv WIDTH [KERNEL [STRIDE]]   convolution, normalisation, activation; KERNEL defaults to 3, STRIDE to 1
pool SIZE | avgpool SIZE       max or average pooling over SIZE x SIZE pixels
avgpool                        global average pooling
dropout P                      drop a fraction P of the channels before the first `linear`, of the units after it
linear WIDTH                   fully connected layer, activation; the first one flattens the feature map
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn

from genmods.core.settings import Classes, DataChannels, DataSides
from genmods.core.sizes import sides
from genmods.networks.base import Network
from genmods.networks.parts import ActivationName, NormName, conv_block, init_he, make_activation

DEFAULT_LAYERS = (
    "conv 32",
    "conv 32",
    "pool 2",
    "dropout 0.1",
    "conv 64",
    "conv 64",
    "pool 2",
    "dropout 0.2",
    "linear 128",
    "dropout 0.4",
)

_GRAMMAR = "conv WIDTH [KERNEL [STRIDE]], pool SIZE, avgpool [SIZE], dropout P, linear WIDTH"
_COUNTS = {"conv": (1, 3), "pool": (1, 1), "avgpool": (0, 1), "dropout": (1, 1), "linear": (1, 1)}


def parse_layer(text: str) -> tuple[str, list[float]]:
    """Parse a layer, `"conv 32 3"` -> `("conv", [32, 3])`; raises ValueError for an invalid one."""
    kind, *words = text.split() or [""]
    fewest, most = _COUNTS.get(kind, (0, -1))
    try:
        numbers = [float(word) if kind == "dropout" else int(word) for word in words]
    except ValueError:
        numbers = [-1.0]
    fits = fewest <= len(words) <= most
    valid = all(0 <= n < 1 for n in numbers) if kind == "dropout" else all(n >= 1 for n in numbers)
    if not (fits and valid):
        raise ValueError(f"layers: expected {_GRAMMAR}, got {text!r}")
    return kind, numbers


class _Builder:
    """Builds modules from parsed layers and tracks the shape [channels, *size], or [channels] after flattening."""

    def __init__(self, channels: int, size: tuple[int, int], norm: NormName, activation: ActivationName) -> None:
        self.channels, self.size, self.flat = channels, size, False
        self.norm, self.activation = norm, activation

    def build(self, text: str) -> nn.Module:
        kind, numbers = parse_layer(text)
        if self.flat and kind in ("conv", "pool", "avgpool"):
            raise ValueError(f"layers: {text!r} must precede the linear layers")
        layer = getattr(self, kind)(*numbers)
        if min(self.size) < 1:
            raise ValueError(f"layers: no pixels are left after {text!r}; use fewer pooling layers or larger images")
        return layer

    def conv(self, width: int, kernel: int = 3, stride: int = 1) -> nn.Module:
        block = conv_block(self.channels, width, kernel, stride, self.norm, self.activation)
        self.channels = width
        self._resize(lambda side: (side + 2 * ((kernel - 1) // 2) - kernel) // stride + 1)
        return block

    def _resize(self, change: Callable[[int], int]) -> None:
        self.size = (change(self.size[0]), change(self.size[1]))

    def pool(self, size: int) -> nn.Module:
        self._resize(lambda side: side // size)
        return nn.MaxPool2d(size)

    def avgpool(self, size: int = 0) -> nn.Module:
        self._resize(lambda side: side // size if size else 1)
        return nn.AvgPool2d(size) if size else nn.AdaptiveAvgPool2d(1)

    def dropout(self, rate: float) -> nn.Module:
        return nn.Dropout(rate) if self.flat else nn.Dropout2d(rate)

    def linear(self, width: int) -> nn.Module:
        dense = nn.Linear(self.width, width)
        self.channels, self.size, flat, self.flat = width, (1, 1), self.flat, True
        return nn.Sequential(*([] if flat else [nn.Flatten()]), dense, make_activation(self.activation))

    @property
    def width(self) -> int:
        return self.channels * self.size[0] * self.size[1]


class CNN(Network):
    """A plain CNN for images [B, in_channels, image_size, image_size], described by a list of layers.

    The modules are called conv1, conv2, pool1, ...; a linear head to `num_classes` logits is appended.

    Args:
        layers: Lines such as `conv 32 3`, `pool 2`, `dropout 0.3`, `linear 128`. None: two blocks of two convolutions
            with 32 and 64 channels, and one fully connected layer of 128 units.
        norm: Normalisation after each convolution.
        activation: Activation after each convolution and fully connected layer.
        in_channels: Channels of the images.
        image_size: Side of the images in pixels.
        num_classes: Number of classes.

    Raises:
        ValueError: For an invalid layer, or if no pixels are left.
    """

    def __init__(
        self,
        layers: list[str] | None = None,
        norm: NormName = "batch",
        activation: ActivationName = "relu",
        in_channels: DataChannels = 1,
        image_size: DataSides = 28,
        num_classes: Classes = 10,
    ) -> None:
        super().__init__()
        builder = _Builder(in_channels, sides(image_size), norm, activation)
        counts: Counter[str] = Counter()
        named: OrderedDict[str, nn.Module] = OrderedDict()
        for text in DEFAULT_LAYERS if layers is None else layers:
            kind = parse_layer(text)[0]
            counts[kind] += 1
            named[f"{kind}{counts[kind]}"] = builder.build(text)
        self.layers = nn.Sequential(named)
        self.shape = (in_channels, *sides(image_size))
        self.head = nn.Linear(builder.width, num_classes)
        init_he(self)

    def features(self, x: Tensor) -> Tensor:
        return torch.flatten(self.layers(x), 1)

    def forward(self, x: Tensor) -> Tensor:
        try:
            return self.head(self.features(x))
        except RuntimeError as error:
            if x.shape[1:] == self.shape:
                raise
            wanted = ", ".join(map(str, ("B", *self.shape)))
            raise ValueError(f"images must have shape [{wanted}], got {list(x.shape)}") from error
