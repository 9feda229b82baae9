"""Classifiers of timm, adapted to the channels and classes of the data, from scratch or pretrained."""

from __future__ import annotations

import sys
from threading import Thread
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from torch import Tensor

from genmods.core.errors import UserError, nearest
from genmods.core.initial_weights import loads_weights
from genmods.core.settings import Classes, DataChannels, Pixels, Rate
from genmods.networks.adapters.classifier import ForeignClassifier, input_statistics, no_download
from genmods.networks.weights import Tensors


class TimmNetwork(ForeignClassifier):
    """A classifier of timm, by name; requires the package timm.

    Args:
        architecture: resnet18, convnext_atto, efficientnet_b0, vit_tiny_patch16_224, ...
        pretrained: Whether to load timm's default weights (downloaded once), with a new head if the classes differ.
            Images are then normalised with the `statistics` of these weights.
        weights: A file of weights in place of a download, with the architecture's normalisation: safetensors or of
            `torch.save`; an appended `#sha256=HEX` checks its hash.
        dropout: Dropout rate before the head.
        resize: Side length to which images are interpolated first (224 for most vision transformers).
        in_channels: Channels of the images.
        num_classes: Number of classes.
    """

    def __init__(
        self,
        architecture: str = "resnet18",
        pretrained: bool = False,
        weights: str | None = None,
        dropout: Rate = 0.0,
        resize: Pixels | tuple[Pixels, Pixels] | None = None,
        in_channels: DataChannels = 3,
        num_classes: Classes = 10,
    ) -> None:
        try:
            import timm
        except ImportError as error:
            raise UserError("the network 'timm' requires the package timm: pip install 'genmods[timm]'") from error
        if pretrained and weights:
            raise ValueError("pretrained must be false where `weights` names a file")
        if not timm.is_model(architecture):
            raise ValueError(f"timm has no classifier {architecture!r}{nearest(architecture, timm.list_models())}")
        own_scale, colors = pretrained or weights is not None, None
        known = timm.get_pretrained_cfg(architecture) if own_scale and in_channels == 1 else None
        if known is not None and len(known.mean) == 3:
            colors = input_statistics(known.mean, known.std, 3)
        channels = 3 if colors else in_channels
        settings: dict[str, Any] = {"in_chans": channels, "num_classes": num_classes, "drop_rate": dropout}
        if pretrained and loads_weights():
            model: Any = _downloaded(architecture, settings)
        else:
            model = timm.create_model(architecture, **settings)
        cfg = model.pretrained_cfg
        statistics = input_statistics(cfg["mean"], cfg["std"], in_channels) if own_scale else None
        super().__init__(model, resize, statistics, colors)
        if weights and loads_weights():
            self.load(weights, channels, self._renamed)

    def _renamed(self, tensors: Tensors) -> Tensors:
        """The tensors [...] of another release of the model under timm's names, as far as timm knows it."""
        convert = getattr(sys.modules[type(self.model).__module__], "checkpoint_filter_fn", None)
        try:
            return convert(dict(tensors), self.model) if convert else tensors
        except Exception:  # of an unknown release
            return tensors

    def features(self, x: Tensor) -> Tensor:
        model: Any = self.model
        return model.forward_head(model.forward_features(self.prepare_input(x)), pre_logits=True)


def _downloaded(architecture: str, settings: dict[str, Any]) -> Any:
    """The pretrained model; without a connection that of the cache, at once."""
    import timm
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = offline = before or not _is_reachable(constants.ENDPOINT)
    try:
        return timm.create_model(architecture, pretrained=True, **settings)
    except (OSError, RuntimeError) as error:
        reason = f"{constants.ENDPOINT} cannot be reached" if offline else str(error)
        raise no_download(f"timm's {architecture}", reason) from error
    finally:
        constants.HF_HUB_OFFLINE = before


def _is_reachable(address: str, seconds: float = 5) -> bool:
    """Whether a server answers within `seconds`, through a proxy if there is one."""
    answers: list[bool] = []

    def ask() -> None:
        try:
            with urlopen(Request(address, method="HEAD"), timeout=seconds):
                answers.append(True)
        except HTTPError:
            answers.append(True)
        except (OSError, ValueError):
            answers.append(False)

    asking = Thread(target=ask, daemon=True)  # resolving a name may take longer than `seconds`
    asking.start()
    asking.join(seconds)
    return bool(answers and answers[0])
