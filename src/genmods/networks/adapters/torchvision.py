"""Classifiers of torchvision, adapted to the channels and classes of the data, from scratch or pretrained."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from genmods.core.errors import nearest
from genmods.core.initial_weights import loads_weights
from genmods.core.settings import Classes, DataChannels, Pixels
from genmods.networks.adapters.classifier import (
    ForeignClassifier,
    adapt_channels,
    input_statistics,
    no_download,
)
from genmods.networks.training import output_layer

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_AUXILIARY = ("googlenet", "inception_v3")


class TorchvisionNetwork(ForeignClassifier):
    """A classifier of torchvision, by name.

    Args:
        architecture: resnet18, mobilenet_v3_small, efficientnet_b0, convnext_tiny, vit_b_16, ...
        pretrained: Whether to load torchvision's ImageNet weights (downloaded once), with a new head if the classes
            differ. Images are then normalised with the `statistics` of these weights.
        weights: A file of ImageNet weights in place of a download, with the same normalisation: safetensors or of
            `torch.save`; an appended `#sha256=HEX` checks its hash.
        resize: Side length to which images are interpolated first (224 for vision transformers).
        in_channels: Channels of the images.
        num_classes: Number of classes.
    """

    def __init__(
        self,
        architecture: str = "resnet18",
        pretrained: bool = False,
        weights: str | None = None,
        resize: Pixels | tuple[Pixels, Pixels] | None = None,
        in_channels: DataChannels = 3,
        num_classes: Classes = 10,
    ) -> None:
        from torchvision import models

        if pretrained and weights:
            raise ValueError("pretrained must be false where `weights` names a file")
        names = models.list_models(module=models)
        if architecture not in names:
            raise ValueError(f"torchvision has no classifier {architecture!r}{nearest(architecture, names)}")
        extra = {"aux_logits": False, "init_weights": True} if architecture in _AUXILIARY else {}
        model = models.get_model(architecture, weights=None, num_classes=num_classes, **extra)
        colors = input_statistics(*_IMAGENET, 3) if (pretrained or weights) and in_channels == 1 else None
        channels = 3 if colors else in_channels
        _set_channels(model, channels)
        if pretrained and loads_weights():
            _download(model, architecture, channels)
        statistics = input_statistics(*_IMAGENET, in_channels) if pretrained or weights else None
        super().__init__(model, resize, statistics, colors)
        if weights and loads_weights():
            self.load(weights, channels)

    def features(self, x: Tensor) -> Tensor:
        captured: list[Tensor] = []
        handle = output_layer(self.model).register_forward_pre_hook(lambda _, inputs: captured.append(inputs[0]))
        try:
            self(x)
        finally:
            handle.remove()
        h = captured[0]
        return h.mean((2, 3)) if h.ndim == 4 else h


def _shape(conv: nn.Conv2d) -> dict[str, Any]:
    shape = {key: getattr(conv, key) for key in ("kernel_size", "stride", "padding", "dilation")}
    return shape | {"bias": conv.bias is not None}


def _set_channels(model: nn.Module, channels: int) -> None:
    """Replace the first convolution of `model` if it has another number of input channels."""
    name, conv = next((name, part) for name, part in model.named_modules() if isinstance(part, nn.Conv2d))
    if conv.in_channels != channels:
        new = nn.Conv2d(channels, conv.out_channels, **_shape(conv))
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, new)


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Context in which a connection that is silent for `seconds` fails."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _download(model: nn.Module, architecture: str, channels: int) -> None:
    from torchvision import models

    try:
        with _patience(10):
            weights = models.get_model_weights(architecture)["DEFAULT"].get_state_dict(progress=False)
    except OSError as error:
        raise no_download(f"torchvision's {architecture}", str(error)) from error
    own = model.state_dict()
    for name, value in weights.items():
        if value.ndim == 4 and value.shape[1] == 3:
            weights[name] = adapt_channels(value, channels)
    head = [name for name in own if name not in weights or own[name].shape != weights[name].shape]
    model.load_state_dict({name: weights[name] for name in own if name not in head}, strict=False)
