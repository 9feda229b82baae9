"""Multi-label classification: an independent binary decision per class."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor
from torchmetrics.classification import MultilabelAveragePrecision

from genmods.core.batch import INDEX, INPUT, LABEL, Batch
from genmods.core.errors import UserError
from genmods.models import MultilabelClassifier
from genmods.tasks.base import Task
from genmods.tracking.monitor import Monitor


class MultilabelTask(Task):
    """Trains with binary cross-entropy on `label`, float [B, K] of zeros and ones; reports mean average precision."""

    monitor = Monitor("val/map", "max")
    model: MultilabelClassifier

    def __init__(self, model: MultilabelClassifier) -> None:
        super().__init__()
        self.model = model
        self.precision = MultilabelAveragePrecision(len(model.class_names))

    def _loss(self, batch: Batch, stage: str) -> tuple[Tensor, Tensor]:
        logits, label = self.model(batch[INPUT]).float(), batch[LABEL].float()
        if label.shape != logits.shape:
            raise UserError(
                f"labels must be [B, {logits.shape[1]}] zeros and ones for {logits.shape[1]} logits, got "
                f"{list(label.shape)} (for one class per image use the task classification)"
            )
        loss = F.binary_cross_entropy_with_logits(logits, label)
        self.log_mean(f"{stage}/loss", loss, batch, progress=True)
        return loss, logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._loss(batch, "train")[0]

    def evaluation_step(self, batch: Batch, stage: str) -> None:
        _, logits = self._loss(batch, stage)
        self.precision.update(logits.sigmoid(), batch[LABEL].long())
        self.log(f"{stage}/map", self.precision, on_epoch=True, prog_bar=True)

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return {"index": batch[INDEX], "marginals": self.model.marginals(batch[INPUT])}
