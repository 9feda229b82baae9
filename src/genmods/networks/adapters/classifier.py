"""What classifiers of other libraries share behind our interface: input scale and size, frozen layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genmods.networks.base import Network

Scale = tuple[Sequence[float], Sequence[float]]
AS_GIVEN: Scale = ((1.0,), (0.0,))


_reads = ContextVar("reads", default=True)


@contextmanager
def without_pretrained() -> Iterator[None]:
    """Within the block no pretrained weights are read: those of a checkpoint will replace them."""
    before = _reads.set(False)
    try:
        yield
    finally:
        _reads.reset(before)


def loads_weights(pretrained: bool) -> bool:
    """Whether pretrained weights must be read now: not on the meta device, nor where others will replace them."""
    return pretrained and _reads.get() and torch.get_default_device().type != "meta"


def input_scale(mean: Sequence[float], std: Sequence[float], channels: int, data_mean: float, data_std: float) -> Scale:
    """Gain and offset from images z = (x - data_mean) / data_std, x in [-1, 1], to (p - mean) / std, p in [0, 1].

    `mean` and `std` have one number a channel; other `channels` than these get their averages.
    """
    if len(mean) != channels:
        mean, std = [sum(mean) / len(mean)] * channels, [sum(std) / len(std)] * channels
    gain = [data_std / 2 / s for s in std]
    return gain, [((data_mean + 1) / 2 - m) / s for m, s in zip(mean, std, strict=True)]


def output_layer(model: nn.Module) -> nn.Module:
    """The last linear or convolutional layer that is registered in `model`."""
    return [part for part in model.modules() if isinstance(part, nn.Linear | nn.Conv2d)][-1]


class ForeignClassifier(Network):
    """A classifier `model` of another library, called with images [B, C, H, W].

    `resize` interpolates images to that many pixels a side first, and `scale`, a gain and an offset for each channel,
    is what pretrained weights expect. `freeze` names layers (prefixes of their dotted names, or `backbone`: all but
    the output layer) that do not train and whose norms stay in eval mode.
    """

    gain: Tensor
    offset: Tensor

    def __init__(
        self,
        model: nn.Module,
        resize: int | None,
        scale: Scale,
        freeze: list[str] | None,
    ) -> None:
        super().__init__()
        self.model = model
        self.resize = resize
        self.register_buffer("gain", torch.tensor(scale[0]).view(1, -1, 1, 1))
        self.register_buffer("offset", torch.tensor(scale[1]).view(1, -1, 1, 1))
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
                raise ValueError(f"freeze: no layer is called {prefix!r}; there are backbone, {layers} and their parts")
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
        """Images at the size and scale that the model expects."""
        if self.resize is not None:
            x = F.interpolate(x, size=self.resize, mode="bilinear", antialias=True)
        return x * self.gain + self.offset

    def forward(self, x: Tensor) -> Tensor:
        return self.model(self.prepare_input(x))
