"""Regression from images with squared or Huber loss; reports R^2 and mean absolute error."""

from __future__ import annotations

from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor

from genmods.core.batch import INDEX, INPUT, LABEL, Batch
from genmods.core.errors import UserError
from genmods.core.settings import Positive
from genmods.metrics.collected import Collected
from genmods.metrics.regression import Regression
from genmods.models import Regressor
from genmods.tasks.base import Task
from genmods.tracking.monitor import Monitor


class RegressionTask(Task):
    """Trains a network with one output per target: `label` is float [B, K], or [B] for a single target.

    The loss is that of standardized targets: "mse", or "huber", which is quadratic below `delta` standard deviations.
    Predictions and metrics are in the original units of the targets. The network's `num_classes` is K. R² and the mean
    absolute error are averaged over the targets.
    """

    label_kinds = ("numbers",)
    monitor = Monitor("val/loss", "min")
    model: Regressor

    def __init__(
        self, model: Regressor, loss: Literal["mse", "huber"] = "mse", delta: Positive = 1.0, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self.model = model
        self.loss, self.delta = loss, delta
        self.collected = Collected()

    def _loss(self, batch: Batch, stage: str) -> tuple[Tensor, Tensor, Tensor]:
        """The loss; predictions and targets [B, K] in their original units."""
        target = batch[LABEL].float().view(len(batch[INPUT]), -1)
        output = self.model(batch[INPUT]).float()
        if output.shape != target.shape:
            raise UserError(
                f"task.network.num_classes must be {target.shape[1]}, the number of targets, got {output.shape[1]}"
            )
        wanted = self.model.standardized(target)
        error = F.mse_loss(output, wanted) if self.loss == "mse" else F.huber_loss(output, wanted, delta=self.delta)
        self.log_mean(f"{stage}/loss", error, batch, progress=True)
        return error, self.model.in_units(output), target

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._loss(batch, "train")[0]

    def evaluation_step(self, batch: Batch, stage: str) -> None:
        _, predicted, target = self._loss(batch, stage)
        self.collected.update(predicted, target, batch[INDEX])

    def evaluation_result(self, stage: str) -> Regression:
        result = Regression(self.model.class_names, *self.collected.take())
        self.log_known(f"{stage}/r2", result.r2.nanmean(), "requires 2 images with different targets")
        self.log_known(f"{stage}/mae", result.mae.mean())
        return result
