"""Shared by the classifiers of other libraries: input statistics and size, weights of a file, refused downloads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genmods.core.errors import UserError
from genmods.core.sizes import Size
from genmods.networks.base import Network
from genmods.networks.weights import Convert, load_best, read_weights

Statistics = tuple[tuple[float, ...], tuple[float, ...]]


def input_statistics(mean: Sequence[float], std: Sequence[float], channels: int) -> Statistics:
    """Convert the per-channel statistics `mean` and `std` of images on [0, 1] to images on [-1, 1].

    If the data has another number of `channels`, all of them get the averages.
    """
    if len(mean) != channels:
        mean, std = [sum(mean) / len(mean)] * channels, [sum(std) / len(std)] * channels
    return tuple(2 * m - 1 for m in mean), tuple(2 * s for s in std)


def adapt_channels(weight: Tensor, channels: int) -> Tensor:
    """Convert RGB filters [out, 3, h, w] to [out, channels, h, w], with the same output for grey images."""
    return weight if channels == 3 else weight.mean(1, keepdim=True).repeat(1, channels, 1, 1) * (3 / channels)


def no_download(what: str, reason: str) -> UserError:
    """The refusal of pretrained weights that cannot be downloaded."""
    line = reason.split("\n", 1)[0]
    return UserError(f"the pretrained weights of {what} cannot be downloaded: {line}; give a file by `weights`")


class ForeignClassifier(Network):
    """A classifier `model` of another library for images [B, C, H, W].

    `resize` is the side length to which images are interpolated first. `statistics` normalise images for the pretrained
    weights; with `colors`, the statistics of their colour channels, a grey image is repeated in all channels.
    """

    gain: Tensor | None
    offset: Tensor | None

    def __init__(
        self,
        model: nn.Module,
        resize: Size | None,
        statistics: Statistics | None,
        colors: Statistics | None = None,
    ) -> None:
        super().__init__()
        gain = offset = None
        if statistics and colors:
            (mean,), (std,) = statistics
            gain = torch.tensor([std / s for s in colors[1]]).view(1, -1, 1, 1)
            offset = torch.tensor([(mean - m) / s for m, s in zip(*colors, strict=True)]).view(1, -1, 1, 1)
        self.register_buffer("gain", gain, persistent=False)
        self.register_buffer("offset", offset, persistent=False)
        self.model = model
        self.resize, self.statistics = resize, statistics

    @property
    def inner(self) -> nn.Module:
        return self.model

    def load(self, path: str, channels: int, convert: Convert | None = None) -> None:
        """Load the weights of a file, its filters for colours adapted to `channels`; raises UserError if none fits."""
        file, parts = read_weights(path)
        for tensors in parts.values():
            for name, value in tensors.items():
                if value.ndim == 4 and value.shape[1] == 3:
                    tensors[name] = adapt_channels(value, channels)
        self.loaded = load_best(self.model, file, parts, convert)

    def prepare_input(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] with the channels and the size that the model expects."""
        if self.gain is not None and self.offset is not None:
            x = x * self.gain + self.offset
        return x if self.resize is None else F.interpolate(x, size=self.resize, mode="bilinear", antialias=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(self.prepare_input(x))
