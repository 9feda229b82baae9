"""Multi-label classification: an independent binary decision per class."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from genmods.core.batch import INDEX, INPUT, LABEL, Batch
from genmods.core.errors import UserError
from genmods.core.settings import FromData, NonNegative, Positive
from genmods.metrics.collected import Collected
from genmods.metrics.several import SeveralLabels
from genmods.models import MultilabelClassifier
from genmods.tasks.base import Task
from genmods.tasks.losses import balanced_weights, several_loss
from genmods.tracking.monitor import Monitor


class MultilabelTask(Task):
    """Trains with binary cross-entropy on `label`, float [B, K] of zeros and ones; reports mean average precision.

    The mean is over the labels that some image of an evaluation has. `class_weights` has one positive number per label,
    the weight of the images that have it; "balanced" is N / (K n_k) for n_k training images with one of K labels, N in
    all. `focal_gamma` is the exponent of the focal loss, 0 for cross-entropy.
    """

    label_kinds = ("multilabel",)
    monitor = Monitor("val/map", "max")
    model: MultilabelClassifier
    class_weights: Tensor | None

    def __init__(
        self,
        model: MultilabelClassifier,
        class_weights: list[Positive] | Literal["balanced"] | None = None,
        focal_gamma: NonNegative = 0.0,
        class_counts: Annotated[list[int], FromData] | None = None,
        **settings: Any,
    ) -> None:
        if class_weights == "balanced":
            if not class_counts:
                raise ValueError("class_weights: balanced requires class_counts, the training images per label")
            class_weights = balanced_weights(class_counts)
        if class_weights is not None and len(class_weights) != len(model.class_names):
            raise ValueError(
                f"class_weights must have one item per label, {len(model.class_names)}, got {class_weights}"
            )
        super().__init__(**settings)
        self.model, self.focal_gamma = model, focal_gamma
        self.register_buffer("class_weights", None if class_weights is None else torch.tensor(class_weights))
        self.collected = Collected()

    def _loss(self, batch: Batch, stage: str) -> tuple[Tensor, Tensor]:
        logits, label = self.model(batch[INPUT]).float(), batch[LABEL].float()
        if label.shape != logits.shape:
            raise UserError(
                f"labels must be [B, {logits.shape[1]}] zeros and ones for {logits.shape[1]} logits, got "
                f"{list(label.shape)} (for one class per image use the task classification)"
            )
        loss = several_loss(logits, label, self.focal_gamma, self.class_weights)
        self.log_mean(f"{stage}/loss", loss, batch, progress=True)
        return loss, logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._loss(batch, "train")[0]

    def evaluation_step(self, batch: Batch, stage: str) -> None:
        _, logits = self._loss(batch, stage)
        self.collected.update(logits.sigmoid(), batch[LABEL], batch[INDEX])

    def evaluation_result(self, stage: str) -> SeveralLabels:
        result = SeveralLabels(self.model.class_names, *self.collected.take())
        self.log_known(f"{stage}/map", result.average_precision.nanmean(), "no image has a label", progress=True)
        return result
