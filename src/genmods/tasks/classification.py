"""Image classification: cross-entropy over logits, with hard or mixed (soft) labels."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from genmods.core.batch import INDEX, INPUT, LABEL, Batch
from genmods.core.settings import FromData, NonNegative, Positive, Rate
from genmods.metrics.calibration import expected_calibration_error
from genmods.metrics.classification import Classification
from genmods.metrics.collected import Collected
from genmods.models import Classifier
from genmods.tasks.base import Task
from genmods.tasks.losses import balanced_weights, classification_loss
from genmods.tracking.monitor import Monitor


class ClassificationTask(Task):
    """Trains a classifier with cross-entropy and reports accuracy, overall and per class, and calibration.

    `class_weights` has one positive number per class; "balanced" is N / (K n_k) for n_k of N training images in one of
    K classes. `focal_gamma` is the exponent of the focal loss, 0 for cross-entropy. `loss` and `ece` of an evaluation
    are computed before temperature scaling, `ece_calibrated`, after training, with it.
    """

    label_kinds = ("class",)
    monitor = Monitor("val/acc", "max")
    reports = ("class_report",)
    model: Classifier
    class_weights: Tensor | None

    def __init__(
        self,
        model: Classifier,
        label_smoothing: Rate = 0.0,
        class_weights: list[Positive] | Literal["balanced"] | None = None,
        focal_gamma: NonNegative = 0.0,
        class_counts: Annotated[list[int], FromData] | None = None,
        **settings: Any,
    ) -> None:
        num_classes = len(model.class_names)
        if class_weights == "balanced":
            if not class_counts:
                raise ValueError("class_weights: balanced requires class_counts, the training images per class")
            class_weights = balanced_weights(class_counts)
        if class_weights is not None and len(class_weights) != num_classes:
            raise ValueError(f"class_weights must have one item per class, {num_classes}, got {class_weights}")
        super().__init__(**settings)
        self.model = model
        self.label_smoothing, self.focal_gamma = label_smoothing, focal_gamma
        self.register_buffer("class_weights", None if class_weights is None else torch.tensor(class_weights))
        self.confusion, self.collected = MulticlassConfusionMatrix(num_classes), Collected()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Resuming training invalidates the fitted temperature."""
        super().on_load_checkpoint(checkpoint)
        for weights in (checkpoint["state_dict"], *checkpoint.get("ema", {}).get("weights", [])):
            weights["model.temperature"] = torch.ones_like(weights["model.temperature"])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        logits = self.model(batch[INPUT]).float()
        loss = classification_loss(logits, batch[LABEL], self.class_weights, self.label_smoothing, self.focal_gamma)
        self.log_mean("train/loss", loss, batch, progress=True)
        return loss

    def evaluation_step(self, batch: Batch, stage: str) -> None:
        scores = self.model.scores(batch[INPUT])
        self.confusion.update(scores, batch[LABEL])
        self.collected.update(scores, batch[LABEL], batch[INDEX])
        self.log_mean(f"{stage}/loss", F.nll_loss(scores, batch[LABEL]), batch)

    def evaluation_result(self, stage: str) -> Classification:
        counts = self.confusion.compute()
        scores, labels, index = self.collected.take()
        model = self.model
        result = Classification(model.class_names, counts.cpu(), scores, labels, index, float(model.temperature))
        self.confusion.reset()
        self.log(f"{stage}/acc", (counts.diag().sum() / counts.sum()).float(), prog_bar=True)
        self.log(f"{stage}/acc_class_mean", result.recall.nanmean().float())
        self.log(f"{stage}/f1_class_mean", result.f1.nanmean().float())
        self.log(f"{stage}/ece", expected_calibration_error(scores.exp(), labels))
        if self.trainer.state.fn != "fit":
            self.log(f"{stage}/ece_calibrated", expected_calibration_error(model.calibrated(scores), labels))
        return result
