"""Image classification: cross-entropy over logits, with hard or mixed (soft) labels."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassConfusionMatrix
from torchmetrics.utilities import dim_zero_cat

from genmods.core.batch import INDEX, INPUT, LABEL, Batch
from genmods.metrics.calibration import expected_calibration_error
from genmods.metrics.classification import Classification
from genmods.models import Classifier
from genmods.tasks.base import Task
from genmods.tracking.monitor import Monitor


class CollectedScores(Metric):
    """Collects the scores of all images of an evaluation over all ranks, in the order of the images."""

    scores: list[Tensor]
    labels: list[Tensor]
    index: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("scores", "labels", "index"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, scores: Tensor, labels: Tensor, index: Tensor) -> None:
        """Add a batch: scores [B, K], labels [B] and the samples' indices [B]."""
        self.scores.append(scores)
        self.labels.append(labels)
        self.index.append(index)

    def compute(self) -> tuple[Tensor, Tensor, Tensor]:
        """Scores [N, K], labels [N] and index [N], ascending, on the CPU."""
        scores, labels, index = (dim_zero_cat(state).cpu() for state in (self.scores, self.labels, self.index))
        order = index.argsort()
        return scores[order], labels[order], index[order]

    def all(self) -> tuple[Tensor, Tensor, Tensor]:
        """Scores [N, K], labels [N] and index [N] as in `compute`, also for a single image."""
        scores, labels, index = self.compute()
        labels, index = labels.view(-1), index.view(-1)
        return scores.view(len(index), -1), labels, index


class ClassificationTask(Task):
    """Trains a classifier with cross-entropy and reports accuracy, overall and per class, and calibration.

    `class_weights` has one positive number per class. `loss` and `ece` of an evaluation are computed before temperature
    scaling, `ece_calibrated`, after training, with it.
    """

    monitor = Monitor("val/acc", "max")
    reports = ("class_report",)
    model: Classifier
    class_weights: Tensor | None

    def __init__(
        self, model: Classifier, label_smoothing: float = 0.0, class_weights: list[float] | None = None
    ) -> None:
        num_classes = len(model.class_names)
        if class_weights is not None and (len(class_weights) != num_classes or min(class_weights) <= 0):
            raise ValueError(f"class_weights must be {num_classes} positive numbers, got {class_weights}")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must lie in [0, 1), not {label_smoothing}")
        super().__init__()
        self.model = model
        self.label_smoothing = label_smoothing
        self.register_buffer("class_weights", None if class_weights is None else torch.tensor(class_weights))
        self.confusion, self.collected = MulticlassConfusionMatrix(num_classes), CollectedScores()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Resuming training invalidates the fitted temperature."""
        super().on_load_checkpoint(checkpoint)
        for weights in (checkpoint["state_dict"], *checkpoint.get("ema", {}).get("weights", [])):
            weights["model.temperature"] = torch.ones_like(weights["model.temperature"])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = F.cross_entropy(
            self.model(batch[INPUT]).float(), batch[LABEL], self.class_weights, label_smoothing=self.label_smoothing
        )
        self.log_mean("train/loss", loss, batch, progress=True)
        return loss

    def evaluation_step(self, batch: Batch, stage: str) -> None:
        scores = self.model.scores(batch[INPUT])
        self.confusion.update(scores, batch[LABEL])
        self.collected.update(scores, batch[LABEL], batch[INDEX])
        self.log_mean(f"{stage}/loss", F.nll_loss(scores, batch[LABEL]), batch)

    def evaluation_result(self, stage: str) -> Classification:
        counts = self.confusion.compute()
        scores, labels, index = self.collected.all()
        model = self.model
        result = Classification(model.class_names, counts.cpu(), scores, labels, index, float(model.temperature))
        self.confusion.reset()
        self.collected.reset()
        self.log(f"{stage}/acc", (counts.diag().sum() / counts.sum()).float(), prog_bar=True)
        self.log(f"{stage}/acc_class_mean", result.recall.nanmean().float())
        self.log(f"{stage}/f1_class_mean", result.f1.nanmean().float())
        self.log(f"{stage}/ece", expected_calibration_error(scores.exp(), labels))
        if self.trainer.state.fn != "fit":
            self.log(f"{stage}/ece_calibrated", expected_calibration_error(model.calibrated(scores), labels))
        return result

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return {"index": batch[INDEX], "probabilities": self.model.probabilities(batch[INPUT])}
