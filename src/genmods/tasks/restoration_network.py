"""Training of networks that restore images in one call, with clean images or with corrupted ones only."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genmods.core import random
from genmods.core.batch import EPOCH, INDEX, INPUT, Batch
from genmods.core.settings import NonNegative
from genmods.metrics.fidelity import psnr, ssim
from genmods.restoration.losses import Example, RestorationLoss, Supervised, check_loss
from genmods.restoration.network import RestorationNetwork
from genmods.restoration.noise import estimate_sigma
from genmods.tasks.base import Task
from genmods.tracking.monitor import Monitor

_AGAIN, _LOSS = 1, 2


class RestorationNetworkTask(Task):
    """Trains a `RestorationNetwork`.

    With a corruption the data are clean images, from which new measurements are generated in each epoch; validation
    uses the same measurements each time, and `val/psnr` selects `best.ckpt`. Without a corruption the data are noisy
    images; `sigma` (0 to 255) is then their noise level, for losses that require it, by default estimated per image,
    and `val/loss` selects `best.ckpt`.

    Raises:
        ValueError: See `check_loss`.
    """

    reports = ("restoration_report",)
    model: RestorationNetwork

    def __init__(
        self,
        model: RestorationNetwork,
        loss: RestorationLoss | None = None,
        sigma: NonNegative | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.model, self.loss, self.sigma = model, loss or Supervised(), sigma
        self.simulates = model.corruption is not None
        check_loss(model, self.loss)
        self.monitor = Monitor("val/psnr", "max") if self.simulates else Monitor("val/loss", "min")

    def example(self, batch: Batch, epoch: Tensor | int) -> Example:
        """The `Example` of a batch; its noise is a function of the seed, `epoch` and the indices of the images."""
        keys, images = random.fold(self.plan.seed, epoch, batch[INDEX]), batch[INPUT]
        if not self.simulates:
            return Example(images, random.fold(keys, _LOSS), std=self._estimated(images))
        with torch.no_grad():
            y = self.model.degrade(images, keys)
            again = self.model.degrade(images, random.fold(keys, _AGAIN)) if "again" in self.loss.needs else None
            needed = self.model.level != "blind" or "std" in self.loss.needs
            std = self.model.noise_std(images, keys) if needed else None
        return Example(y, random.fold(keys, _LOSS), images, again, std)

    def _estimated(self, images: Tensor) -> Tensor:
        """The standard deviation [B, C, H, W] of the noise in the data."""
        if self.sigma is None:
            return estimate_sigma(images).view(-1, 1, 1, 1).expand_as(images)
        return torch.full_like(images, 2 * self.sigma / 255)

    def _losses(self, example: Example) -> Tensor:
        """The loss [B] of a batch."""
        return self.loss(lambda y, std: self.model(y, std).float(), example)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = self._losses(self.example(batch, batch[EPOCH])).mean()
        self.log_mean("train/loss", loss, batch, progress=True)
        return loss

    def evaluation_step(self, batch: Batch, stage: str) -> dict[str, Tensor]:
        """Logs the scores; returns clean, measured and restored images for callbacks."""
        example = self.example(batch, -1)
        restored = self.model.restored(example.measured, example.std)
        self.log_mean(f"{stage}/loss", self._losses(example).mean(), batch)
        shown = {"index": batch[INDEX], "measured": self.model.operator.pinv(example.measured), "restored": restored}
        if example.clean is None:
            return shown
        fidelity = psnr(restored, example.clean)
        self.log_mean(f"{stage}/psnr", fidelity.mean(), batch, progress=True)
        self.log_mean(f"{stage}/ssim", ssim(restored, example.clean).mean(), batch)
        return shown | {"clean": example.clean, "psnr": fidelity}
