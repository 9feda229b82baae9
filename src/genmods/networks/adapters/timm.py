"""Classifiers of timm, adapted to the channels and classes of the data, from scratch or pretrained."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from genmods.core.errors import UserError, nearest
from genmods.core.settings import Classes, DataChannels, Pixels, Rate
from genmods.networks.adapters.classifier import ForeignClassifier, input_statistics, loads_weights


class TimmNetwork(ForeignClassifier):
    """A classifier of timm, by name; requires the package timm.

    Args:
        architecture: resnet18, convnext_atto, efficientnet_b0, vit_tiny_patch16_224, ...
        pretrained: Whether to load timm's default weights (downloaded once), with a new head if the classes differ.
            Images are then normalised with the `statistics` of these weights.
        freeze: Layers that are not trained, by name; `backbone` for all but the output layer.
        dropout: Dropout rate before the head.
        resize: Side length to which images are interpolated first (224 for most vision transformers).
        in_channels: Channels of the images.
        num_classes: Number of classes.
    """

    def __init__(
        self,
        architecture: str = "resnet18",
        pretrained: bool = False,
        freeze: list[str] | None = None,
        dropout: Rate = 0.0,
        resize: Pixels | tuple[Pixels, Pixels] | None = None,
        in_channels: DataChannels = 3,
        num_classes: Classes = 10,
    ) -> None:
        try:
            import timm
        except ImportError as error:
            raise UserError("the network 'timm' requires the package timm: pip install 'genmods[timm]'") from error
        if not timm.is_model(architecture):
            raise ValueError(f"timm has no classifier {architecture!r}{nearest(architecture, timm.list_models())}")
        weights, colours = loads_weights(pretrained), None
        known = timm.get_pretrained_cfg(architecture) if pretrained and in_channels == 1 else None
        if known is not None and len(known.mean) == 3:
            colours = input_statistics(known.mean, known.std, 3)
        try:
            model: Any = timm.create_model(
                architecture,
                pretrained=weights,
                in_chans=3 if colours else in_channels,
                num_classes=num_classes,
                drop_rate=dropout,
            )
        except (OSError, RuntimeError) as error:
            if not weights:
                raise
            line = str(error).splitlines()[0]
            raise UserError(f"the pretrained weights of timm's {architecture} cannot be loaded: {line}") from error
        cfg = model.pretrained_cfg
        statistics = input_statistics(cfg["mean"], cfg["std"], in_channels) if pretrained else None
        super().__init__(model, resize, statistics, freeze, colours)

    def features(self, x: Tensor) -> Tensor:
        model: Any = self.model
        return model.forward_head(model.forward_features(self.prepare_input(x)), pre_logits=True)
