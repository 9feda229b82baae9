"""Regression from images: squared or Huber error, judged by R^2 and mean absolute error."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MeanAbsoluteError, R2Score

from genmods.core.batch import INDEX, INPUT, LABEL, Batch
from genmods.core.errors import UserError
from genmods.core.sizes import PerChannel, Size
from genmods.networks.base import Network
from genmods.tasks.image import ImageTask
from genmods.tracking.monitor import Monitor


class RegressionTask(ImageTask):
    """Trains a network with one output a target: `label` is float [B, K], or [B] for a single target.

    `loss` is "mse" or "huber" (quadratic below `delta`, in the targets' units). The network's `num_classes` is K, and
    `class_names` are the names of the targets. R^2 is the mean over them, the absolute error too.
    """

    monitor = Monitor("val/loss", "min")

    def __init__(
        self,
        network: Network,
        loss: Literal["mse", "huber"] = "mse",
        delta: float = 1.0,
        in_channels: int = 1,
        image_size: Size = 28,
        mean: PerChannel = 0.0,
        std: PerChannel = 1.0,
        class_names: list[str] | None = None,
    ) -> None:
        super().__init__(network, None, in_channels, image_size, mean, std)
        self.loss, self.delta = loss, delta
        self.class_names = class_names or []
        self.r2, self.mae = R2Score(multioutput="uniform_average"), MeanAbsoluteError()

    def _error(self, batch: Batch, stage: str) -> tuple[Tensor, Tensor, Tensor]:
        target = batch[LABEL].float().view(len(batch[INPUT]), -1)
        predicted = self(batch[INPUT]).float()
        if predicted.shape != target.shape:
            raise UserError(
                f"the network gives {predicted.shape[1]} numbers and the data has {target.shape[1]} targets; "
                f"set task.network.num_classes to {target.shape[1]}"
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
        return {"index": batch[INDEX], "targets": self(batch[INPUT]).float()}
