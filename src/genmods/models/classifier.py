"""Classifiers: class probabilities of images, averaged over views and calibrated.

A prediction averages probabilities over the views v of test-time augmentation, s = ln(mean_v softmax(logits_v)), and is
calibrated by a temperature, softmax(s / T), which does not change the predicted class. T is fitted after training.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor

from genmods.core.batch import INPUT, LABEL
from genmods.core.settings import Classes
from genmods.models.image import ImageModel
from genmods.models.temperature import fit_temperature
from genmods.networks.base import Network


class ClassPrediction(NamedTuple):
    """The most probable class of an image, its probability, and the probabilities of all classes by name."""

    name: str
    probability: float
    probabilities: dict[str, float]

    @classmethod
    def of(cls, probabilities: dict[str, float]) -> ClassPrediction:
        """From the probabilities by name."""
        name = max(probabilities, key=probabilities.__getitem__)
        return cls(name, probabilities[name], probabilities)


class Classifier(ImageModel):
    """Assigns each image to one of `num_classes` classes.

    `augment_test` averages the probabilities over flipped, or flipped and translated, copies of an image. Raises
    ValueError if the network does not return one logit per class.
    """

    predicts = "class"
    temperature: Tensor

    def __init__(
        self,
        network: Network,
        augment_test: Literal["none", "flip", "flip_shift"] = "none",
        num_classes: Annotated[Classes, Ge(2)] = 10,
        **settings: Any,
    ) -> None:
        super().__init__(network, num_classes, **settings)
        self.augment_test = augment_test
        self.register_buffer("temperature", torch.ones(()))

    @torch.no_grad()
    def scores(self, images: Tensor) -> Tensor:
        """Log-probabilities [B, K] of `images` [B, C, H, W] in [-1, 1], averaged over views, uncalibrated."""
        self.check(images)
        scores = torch.stack([self(view).float().log_softmax(-1) for view in views(images, self.augment_test)])
        return scores.logsumexp(0) - math.log(len(scores))

    def calibrated(self, scores: Tensor) -> Tensor:
        """Calibrated probabilities [B, K] for `scores` [B, K]."""
        return (scores / self.temperature.to(scores)).softmax(-1)

    def probabilities(self, images: Tensor) -> Tensor:
        """Calibrated probabilities [B, K] of `images` [B, C, H, W] in [-1, 1], test-time augmentation included."""
        return self.calibrated(self.scores(images))

    def classify(self, image: Any) -> ClassPrediction | list[ClassPrediction]:
        """The class of an image, or of each image in a list.

        An image is a file, a PIL image, an array uint8 [H, W] or [H, W, C], or a tensor uint8 [C, H, W], of any size;
        it is resized like the files of a folder for training. Raises UserError for anything else.
        """
        from genmods.data.decoding import prepared
        from genmods.data.preparation import Preparation

        several = isinstance(image, list | tuple)
        if several and not image:
            return []
        preparation = self.preparation or Preparation.of_shape(self.image_shape)
        assert preparation is not None
        images = torch.stack([prepared(one, preparation) for one in (image if several else [image])])
        rows = self.probabilities(images.to(self.device)).tolist()
        found = [ClassPrediction.of(dict(zip(self.class_names, row, strict=True))) for row in rows]
        return found if several else found[0]

    def predictions(self, images: Tensor) -> Tensor:
        return self.probabilities(images)

    def calibrate(self, batches: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Fit the temperature, a scalar; it stays 1 for a classifier without mistakes on these images."""
        pairs = [(self.scores(batch[INPUT]).cpu(), batch[LABEL].cpu()) for batch in batches]
        scores, labels = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        temperature = fit_temperature(scores, labels) if (scores.argmax(1) != labels).any() else 1.0
        return {"temperature": torch.full_like(self.temperature, temperature)}


def views(images: Tensor, augment: str) -> list[Tensor]:
    """The views [B, C, H, W] of `images` for test-time augmentation, the unchanged images first."""
    if augment == "none":
        return [images]
    copies = [images, images.flip(-1)]
    if augment == "flip_shift":
        height, width = images.shape[-2:]
        padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
        for dy, dx in ((0, 0), (2, 2)):
            shifted = padded[..., dy : dy + height, dx : dx + width]
            copies += [shifted, shifted.flip(-1)]
    return copies
