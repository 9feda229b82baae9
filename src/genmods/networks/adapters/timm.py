"""timm's classifiers as networks, with the channels and classes of the data, from scratch or pretrained."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from genmods.core.errors import UserError, nearest
from genmods.networks.adapters.classifier import ForeignClassifier, input_statistics, loads_weights
from genmods.networks.parts import require_classes


class TimmNetwork(ForeignClassifier):
    """A classifier of timm by name; needs the package timm.

    `architecture`: resnet18, convnext_atto, efficientnet_b0, vit_tiny_patch16_224, ...; `pretrained`: start from
    timm's default weights (downloaded once), a new head where the classes differ; `freeze`: layers that do not train,
    by name (`backbone`: all but the output layer); `dropout`: before the head; `resize`: interpolate the images to
    this size first (224 for most vision transformers). Pretrained weights take images normalised with `statistics`.
    """

    def __init__(
        self,
        architecture: str = "resnet18",
        pretrained: bool = False,
        freeze: list[str] | None = None,
        dropout: float = 0.0,
        resize: int | None = None,
        in_channels: int = 3,
        num_classes: int = 10,
    ) -> None:
        try:
            import timm
        except ImportError as error:
            raise UserError("the network 'timm' needs the package timm: pip install 'genmods[timm]'") from error
        require_classes(num_classes)
        if not timm.is_model(architecture):
            raise ValueError(f"timm has no classifier {architecture!r}{nearest(architecture, timm.list_models())}")
        weights = loads_weights(pretrained)
        try:
            model: Any = timm.create_model(
                architecture, pretrained=weights, in_chans=in_channels, num_classes=num_classes, drop_rate=dropout
            )
        except (OSError, RuntimeError) as error:
            if not weights:
                raise
            line = str(error).splitlines()[0]
            raise UserError(f"the pretrained weights of timm's {architecture} cannot be loaded: {line}") from error
        cfg = model.pretrained_cfg
        statistics = input_statistics(cfg["mean"], cfg["std"], in_channels) if pretrained else None
        super().__init__(model, resize, statistics, freeze)

    def features(self, x: Tensor) -> Tensor:
        model: Any = self.model
        return model.forward_head(model.forward_features(self.prepare_input(x)), pre_logits=True)
