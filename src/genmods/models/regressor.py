"""Models with independent outputs: regression targets, and the classes of multi-label classification."""

from __future__ import annotations

from torch import Tensor

from genmods.core.sizes import PerChannel, Size
from genmods.models.image import ImageModel
from genmods.networks.base import Network


class Regressor(ImageModel):
    """Predicts one number per target from an image; `class_names` are the names of the targets."""

    def __init__(
        self,
        network: Network,
        in_channels: int = 1,
        image_size: Size = 28,
        mean: PerChannel = 0.0,
        std: PerChannel = 1.0,
        class_names: list[str] | None = None,
    ) -> None:
        super().__init__(network, None, in_channels, image_size, mean, std)
        self.class_names = class_names or []


class MultilabelClassifier(ImageModel):
    """Predicts an independent probability for each class.

    Raises ValueError if the network does not return one logit per class.
    """

    def __init__(
        self,
        network: Network,
        num_classes: int = 10,
        in_channels: int = 1,
        image_size: Size = 28,
        mean: PerChannel = 0.0,
        std: PerChannel = 1.0,
        class_names: list[str] | None = None,
    ) -> None:
        super().__init__(network, num_classes, in_channels, image_size, mean, std)
        self.class_names = class_names or [str(k) for k in range(num_classes)]

    def marginals(self, images: Tensor) -> Tensor:
        """Independent probabilities [B, K] of `images` [B, C, H, W] in [-1, 1]."""
        return self(images).float().sigmoid()
