"""Regression from images with squared or Huber loss; reports R^2 and mean absolute error."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MeanAbsoluteError, R2Score

from genmods.core.batch import INDEX, INPUT, LABEL, Batch
from genmods.core.errors import UserError
from genmods.models import Regressor
from genmods.tasks.base import Task
from genmods.tracking.monitor import Monitor


class RegressionTask(Task):
    """Trains a network with one output per target: `label` is float [B, K], or [B] for a single target.

    `loss` is "mse" or "huber" (quadratic below `delta`, in the units of the targets). The network's `num_classes` is K.
    R^2 and the mean absolute error are averaged over the targets.
    """

    monitor = Monitor("val/loss", "min")
    model: Regressor

    def __init__(self, model: Regressor, loss: Literal["mse", "huber"] = "mse", delta: float = 1.0) -> None:
        super().__init__()
        self.model = model
        self.loss, self.delta = loss, delta
        self.r2, self.mae = R2Score(multioutput="uniform_average"), MeanAbsoluteError()

    def _error(self, batch: Batch, stage: str) -> tuple[Tensor, Tensor, Tensor]:
        target = batch[LABEL].float().view(len(batch[INPUT]), -1)
        predicted = self.model(batch[INPUT]).float()
        if predicted.shape != target.shape:
            raise UserError(
                f"task.network.num_classes must be {target.shape[1]}, the number of targets, got {predicted.shape[1]}"
            )
        error = (
            F.mse_loss(predicted, target) if self.loss == "mse" else F.huber_loss(predicted, target, delta=self.delta)
        )
        self.log_mean(f"{stage}/loss", error, batch, progress=True)
        return error, predicted, target

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._error(batch, "train")[0]

    def evaluation_step(self, batch: Batch, stage: str) -> None:
        _, predicted, target = self._error(batch, stage)
        self.r2.update(predicted.squeeze(1), target.squeeze(1))
        self.mae.update(predicted, target)
        self.log(f"{stage}/r2", self.r2, on_epoch=True)
        self.log(f"{stage}/mae", self.mae, on_epoch=True)

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return {"index": batch[INDEX], "targets": self.model(batch[INPUT]).float()}
