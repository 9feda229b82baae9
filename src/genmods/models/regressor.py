"""Models with independent outputs: regression targets, and the classes of multi-label classification."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import Tensor

from genmods.core.settings import Classes, FromData, NonNegative
from genmods.models.image import ImageModel
from genmods.networks.base import Network


class Regressor(ImageModel):
    """Predicts one number per target from an image; `class_names` are the names of the targets.

    The network gives the targets less `target_mean`, in units of `target_std`. Raises ValueError for a target that is
    the same for all training images.
    """

    predicts = "numbers"
    target_mean: Tensor
    target_std: Tensor

    def __init__(
        self,
        network: Network,
        target_mean: Annotated[list[float], FromData] | None = None,
        target_std: Annotated[list[NonNegative], FromData] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(network, None, **settings)
        for name, spread in zip(self.class_names, target_std or [], strict=False):
            if spread == 0:
                raise ValueError(f"targets must differ among the training images, got one {name} for all")
        self.register_buffer("target_mean", torch.tensor(target_mean or [0.0]))
        self.register_buffer("target_std", torch.tensor(target_std or [1.0]))

    def predictions(self, images: Tensor) -> Tensor:
        return self.in_units(self(images).float())

    def in_units(self, outputs: Tensor) -> Tensor:
        """The targets [B, K] in their original units for network `outputs` [B, K]."""
        return outputs * self.target_std + self.target_mean

    def standardized(self, targets: Tensor) -> Tensor:
        """The network outputs [B, K] for `targets` [B, K]; the inverse of `in_units`."""
        return (targets - self.target_mean) / self.target_std


class MultilabelClassifier(ImageModel):
    """Predicts an independent probability for each class.

    Raises ValueError if the network does not return one logit per class.
    """

    predicts = "multilabel"

    def __init__(self, network: Network, num_classes: Classes = 10, **settings: Any) -> None:
        super().__init__(network, num_classes, **settings)

    def marginals(self, images: Tensor) -> Tensor:
        """Independent probabilities [B, K] of `images` [B, C, H, W] in [-1, 1]."""
        return self(images).float().sigmoid()

    def predictions(self, images: Tensor) -> Tensor:
        return self.marginals(images)
