"""Multi-label classification: an independent yes or no for each class."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor
from torchmetrics.classification import MultilabelAveragePrecision

from genmods.core.batch import INDEX, INPUT, LABEL, Batch
from genmods.core.errors import UserError
from genmods.core.sizes import PerChannel, Size
from genmods.networks.base import Network
from genmods.tasks.image import ImageTask
from genmods.tracking.monitor import Monitor


class MultilabelTask(ImageTask):
    """Trains by binary cross-entropy on `label` float [B, K] of zeros and ones; judged by mean average precision.

    Raises ValueError where the network does not give one logit a class.
    """

    monitor = Monitor("val/map", "max")

    def __init__(
        self,
        network: Network,
        num_classes: int = 10,
        in_channels: int = 1,
        image_size: Size = 28,
        mean: PerChannel = 0.0,
        std: PerChannel = 1.0,
        class_names: list[str] | None = None,
    ) -> None:
        super().__init__(network, num_classes, in_channels, image_size, mean, std)
        self.class_names = class_names or [str(k) for k in range(num_classes)]
        self.precision = MultilabelAveragePrecision(num_classes)

    def marginals(self, images: Tensor) -> Tensor:
        """Independent probabilities [B, K] of `images` [B, C, H, W] in [-1, 1]."""
        return self(images).float().sigmoid()

    def _loss(self, batch: Batch, stage: str) -> tuple[Tensor, Tensor]:
        logits, label = self(batch[INPUT]).float(), batch[LABEL].float()
        if label.shape != logits.shape:
            raise UserError(
                f"the network gives {logits.shape[1]} logits and the labels are {list(label.shape)}; multilabel takes "
                f"[B, {logits.shape[1]}] zeros and ones (for one class an image there is the task classification)"
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
        return {"index": batch[INDEX], "marginals": self.marginals(batch[INPUT])}
