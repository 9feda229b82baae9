"""Shared by the classifiers of other libraries: input statistics and size, frozen layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genmods.core.sizes import Size
from genmods.networks.base import Network, is_restoring

Statistics = tuple[tuple[float, ...], tuple[float, ...]]


def loads_weights(pretrained: bool) -> bool:
    """Whether to load pretrained weights: not on the meta device, nor if a checkpoint will replace them."""
    return pretrained and not is_restoring() and torch.get_default_device().type != "meta"


def input_statistics(mean: Sequence[float], std: Sequence[float], channels: int) -> Statistics:
    """Convert the per-channel statistics `mean` and `std` of images on [0, 1] to images on [-1, 1].

    If the data has another number of `channels`, all of them get the averages.
    """
    if len(mean) != channels:
        mean, std = [sum(mean) / len(mean)] * channels, [sum(std) / len(std)] * channels
    return tuple(2 * m - 1 for m in mean), tuple(2 * s for s in std)


def output_layer(model: nn.Module) -> nn.Module:
    """The last registered linear or convolutional layer of `model`."""
    return [part for part in model.modules() if isinstance(part, nn.Linear | nn.Conv2d)][-1]


class ForeignClassifier(Network):
    """A classifier `model` of another library for images [B, C, H, W].

    `resize` is the side length to which images are interpolated first. `statistics` normalise images for the pretrained
    weights; with `colours`, the statistics of their colour channels, a grey image is repeated in all channels. `freeze`
    lists layers that are not trained and whose norms stay in eval mode: prefixes of their dotted names, or `backbone`
    for all but the output layer.
    """

    gain: Tensor | None
    offset: Tensor | None

    def __init__(
        self,
        model: nn.Module,
        resize: Size | None,
        statistics: Statistics | None,
        freeze: list[str] | None,
        colours: Statistics | None = None,
    ) -> None:
        super().__init__()
        gain = offset = None
        if statistics and colours:
            (mean,), (std,) = statistics
            gain = torch.tensor([std / s for s in colours[1]]).view(1, -1, 1, 1)
            offset = torch.tensor([(mean - m) / s for m, s in zip(*colours, strict=True)]).view(1, -1, 1, 1)
        self.register_buffer("gain", gain, persistent=False)
        self.register_buffer("offset", offset, persistent=False)
        self.model = model
        self.resize, self.statistics = resize, statistics
        self.frozen = tuple(self._freeze(freeze or []))
        self.train()

    def _freeze(self, prefixes: list[str]) -> list[nn.Module]:
        head = output_layer(self.model)
        frozen = []
        for prefix in prefixes:
            chosen = [
                part
                for name, part in self.model.named_modules()
                if (part is not head if prefix == "backbone" else f"{name}.".startswith(f"{prefix}."))
            ]
            if not chosen:
                layers = ", ".join(name for name, _ in self.model.named_children())
                raise ValueError(
                    f"freeze: no layer is called {prefix!r}; choose from backbone, {layers}, or their submodules"
                )
            frozen += chosen
        for part in frozen:
            for parameter in part.parameters(recurse=False):
                parameter.requires_grad_(False)
        return frozen

    def train(self, mode: bool = True) -> ForeignClassifier:
        super().train(mode)
        for part in self.frozen:
            part.training = False
        return self

    def prepare_input(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] with the channels and the size that the model expects."""
        if self.gain is not None and self.offset is not None:
            x = x * self.gain + self.offset
        return x if self.resize is None else F.interpolate(x, size=self.resize, mode="bilinear", antialias=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(self.prepare_input(x))
