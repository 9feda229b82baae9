"""Image classification: cross-entropy over logits, with hard or mixed (soft) labels.

A prediction averages probabilities over the views v of test-time augmentation, s = ln(mean_v softmax(logits_v)), and is
calibrated by a temperature, softmax(s / T), which changes no decision. T is fitted once training is over.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassConfusionMatrix
from torchmetrics.utilities import dim_zero_cat

from genmods.core.batch import INDEX, INPUT, LABEL, Batch
from genmods.core.sizes import PerChannel, Size
from genmods.metrics.calibration import expected_calibration_error, fit_temperature
from genmods.metrics.classification import Classification
from genmods.networks.base import Network
from genmods.tasks.image import ImageTask
from genmods.tracking.monitor import Monitor


class CollectedScores(Metric):
    """The scores of all images of an evaluation, over all ranks, in the order of the images."""

    scores: list[Tensor]
    labels: list[Tensor]
    index: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("scores", "labels", "index"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, scores: Tensor, labels: Tensor, index: Tensor) -> None:
        """Adds a batch: scores [B, K], labels [B] and the samples' numbers `index` [B]."""
        self.scores.append(scores)
        self.labels.append(labels)
        self.index.append(index)

    def compute(self) -> tuple[Tensor, Tensor, Tensor]:
        """Scores [N, K], labels [N] and index [N], ascending, on the CPU."""
        scores, labels, index = (dim_zero_cat(state).cpu() for state in (self.scores, self.labels, self.index))
        order = index.argsort()
        return scores[order], labels[order], index[order]

    def all(self) -> tuple[Tensor, Tensor, Tensor]:
        """Scores [N, K], labels [N] and index [N] as `compute` has them, of one image too."""
        scores, labels, index = self.compute()
        labels, index = labels.view(-1), index.view(-1)
        return scores.view(len(index), -1), labels, index


class ClassificationTask(ImageTask):
    """Trains a classifier by cross-entropy and reports accuracy, in all and by class, and calibration.

    `class_weights` has one positive number a class. `augment_test` averages the probabilities over flipped, or flipped
    and shifted, copies of an image.
    `loss` and `ece` of an evaluation are told before the temperature, `ece_calibrated` after it, once training is over.
    Raises ValueError where the network does not give one logit a class.
    """

    monitor = Monitor("val/acc", "max")
    reports = ("class_report",)
    class_weights: Tensor | None
    temperature: Tensor

    def __init__(
        self,
        network: Network,
        label_smoothing: float = 0.0,
        class_weights: list[float] | None = None,
        augment_test: Literal["none", "flip", "flip_shift"] = "none",
        num_classes: int = 10,
        in_channels: int = 1,
        image_size: Size = 28,
        mean: PerChannel = 0.0,
        std: PerChannel = 1.0,
        class_names: list[str] | None = None,
    ) -> None:
        if num_classes < 2:
            raise ValueError(
                f"num_classes is {num_classes}: classification needs labelled data with at least 2 classes"
            )
        if class_weights is not None and (len(class_weights) != num_classes or min(class_weights) <= 0):
            raise ValueError(f"class_weights must be {num_classes} positive numbers, one a class, not {class_weights}")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must lie in [0, 1), not {label_smoothing}")
        super().__init__(network, num_classes, in_channels, image_size, mean, std)
        self.label_smoothing = label_smoothing
        self.augment_test = augment_test
        self.class_names = class_names or [str(k) for k in range(num_classes)]
        self.register_buffer("class_weights", None if class_weights is None else torch.tensor(class_weights))
        self.register_buffer("temperature", torch.ones(()))
        self.confusion, self.collected = MulticlassConfusionMatrix(num_classes), CollectedScores()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A run that goes on makes the temperature of its last end stale."""
        super().on_load_checkpoint(checkpoint)
        for weights in (checkpoint["state_dict"], *checkpoint.get("ema", {}).get("weights", [])):
            weights["temperature"] = torch.ones_like(weights["temperature"])

    @torch.no_grad()
    def scores(self, images: Tensor) -> Tensor:
        """Log-probabilities [B, K] of `images` [B, C, H, W] in [-1, 1] before the temperature, the mean over views."""
        scores = torch.stack([self(view).float().log_softmax(-1) for view in views(images, self.augment_test)])
        return scores.logsumexp(0) - math.log(len(scores))

    def calibrated(self, scores: Tensor) -> Tensor:
        """Probabilities [B, K] of `scores` [B, K]."""
        return (scores / self.temperature.to(scores)).softmax(-1)

    def probabilities(self, images: Tensor) -> Tensor:
        """Calibrated probabilities [B, K] of `images` [B, C, H, W] in [-1, 1], test-time augmentation included."""
        return self.calibrated(self.scores(images))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = F.cross_entropy(
            self(batch[INPUT]).float(), batch[LABEL], self.class_weights, label_smoothing=self.label_smoothing
        )
        self.log_mean("train/loss", loss, batch, progress=True)
        return loss

    def calibrate(self, batches: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """The temperature. A classifier without a mistake on these images keeps 1: they cannot tell how sure it should
        be."""
        pairs = [(self.scores(batch[INPUT]).cpu(), batch[LABEL].cpu()) for batch in batches]
        scores, labels = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        temperature = fit_temperature(scores, labels) if (scores.argmax(1) != labels).any() else 1.0
        return {"temperature": torch.full_like(self.temperature, temperature)}

    def evaluation_step(self, batch: Batch, stage: str) -> None:
        scores = self.scores(batch[INPUT])
        self.confusion.update(scores, batch[LABEL])
        self.collected.update(scores, batch[LABEL], batch[INDEX])
        self.log_mean(f"{stage}/loss", F.nll_loss(scores, batch[LABEL]), batch)

    def evaluation_result(self, stage: str) -> Classification:
        counts = self.confusion.compute()
        scores, labels, index = self.collected.all()
        result = Classification(self.class_names, counts.cpu(), scores, labels, index, float(self.temperature))
        self.confusion.reset()
        self.collected.reset()
        self.log(f"{stage}/acc", (counts.diag().sum() / counts.sum()).float(), prog_bar=True)
        self.log(f"{stage}/acc_class_mean", result.recall.nanmean().float())
        self.log(f"{stage}/f1_class_mean", result.f1.nanmean().float())
        self.log(f"{stage}/ece", expected_calibration_error(scores.exp(), labels))
        if self.trainer.state.fn != "fit":
            self.log(f"{stage}/ece_calibrated", expected_calibration_error(self.calibrated(scores), labels))
        return result

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return {"index": batch[INDEX], "probabilities": self.probabilities(batch[INPUT])}


def views(images: Tensor, augment: str) -> list[Tensor]:
    """The copies of `images` [B, C, H, W] that test-time augmentation averages over, the images themselves first."""
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
