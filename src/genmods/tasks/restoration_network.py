"""Training of networks that restore images in one call, with clean images or with corrupted ones only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from genmods.core import random
from genmods.core.batch import EPOCH, INDEX, INPUT, Batch
from genmods.core.settings import NonNegative, Rate
from genmods.data.augmentation.geometry import windows
from genmods.metrics.fidelity import psnr, ssim
from genmods.restoration.coarse import coarse_pair
from genmods.restoration.losses import Example, Noise2Noise, RestorationLoss, Supervised, check_loss
from genmods.restoration.network import RestorationNetwork
from genmods.restoration.noise import estimate_sigma
from genmods.restoration.operators import Identity
from genmods.tasks.base import Task
from genmods.tracking.monitor import Monitor

_AGAIN, _LOSS, _WINDOW = 1, 2, 3
_ESTIMATED = 64
"""The noise level of larger images is estimated from their central pixels."""
_COARSEST, _COARSE = 4, 2
"""The factors by which images are reduced in the first and in the second part of a training."""


class RestorationNetworkTask(Task):
    """Trains a `RestorationNetwork`.

    With a corruption the data are clean images, from which new measurements are generated in each epoch; validation
    uses the same measurements each time, and `val/psnr` selects `best.ckpt`. Without a corruption the data are noisy
    images; `sigma` (0 to 255) is then their noise level, for losses that require it, by default estimated per image,
    and `val/loss` selects `best.ckpt`.

    For a fraction `coarse` of the steps the images are reduced, a third of these steps to a quarter of their sides and
    then to half, which takes less time and, where targets are noisy, averages most of their noise away (`coarse_pair`).
    The other steps use random windows of half the sides at the original resolution. The noise must be independent
    between pixels; if it is neither known nor measured twice, its level is estimated.

    Raises:
        ValueError: See `check_loss`; also if `coarse` is set for tiny images, or an operator other than the identity.
    """

    reports = ("restoration_report",)
    model: RestorationNetwork

    def __init__(
        self,
        model: RestorationNetwork,
        loss: RestorationLoss | None = None,
        sigma: NonNegative | None = None,
        coarse: Rate = 0.0,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.model, self.loss, self.sigma, self.coarse = model, loss or Supervised(), sigma, coarse
        self.simulates = model.corruption is not None
        self.coarse_steps = 0
        self._levels: dict[int, Tensor] = {}
        check_loss(model, self.loss)
        if coarse and not isinstance(model.operator, Identity):
            raise ValueError(f"coarse requires the operator Identity, got {type(model.operator).__name__}")
        if coarse and min(model.image_shape[1:]) < 2 * _COARSEST:
            raise ValueError(f"coarse requires images of at least {2 * _COARSEST} pixels, got {model.image_shape[1:]}")
        self.monitor = Monitor("val/psnr", "max") if self.simulates else Monitor("val/loss", "min")

    def on_train_start(self) -> None:
        if self.coarse:
            self.coarse_steps = round(self.coarse * self.steps_of("coarse"))

    def example(self, batch: Batch, epoch: Tensor | int) -> Example:
        """The `Example` of a batch; its noise is a function of the seed, `epoch` and the indices of the images."""
        keys, images = random.fold(self.plan.seed, epoch, batch[INDEX]), batch[INPUT]
        if not self.simulates:
            return Example(images, random.fold(keys, _LOSS), std=self._level(images, batch[INDEX]))
        with torch.no_grad():
            y = self.model.degrade(images, keys)
            again = self.model.degrade(images, random.fold(keys, _AGAIN)) if "again" in self.loss.needs else None
            needed = self.model.level != "blind" or "std" in self.loss.needs
            std = self.model.noise_std(images, keys) if needed else None
        return Example(y, random.fold(keys, _LOSS), images, again, std)

    def _level(self, images: Tensor, index: Tensor) -> Tensor:
        """The standard deviation [B, C, H, W] of the noise in the data, estimated once per training image."""
        if self.sigma is not None:
            return torch.full_like(images, 2 * self.sigma / 255)
        if not self.training:  # validation images have the same numbers
            return _estimated(images).expand_as(images)
        numbers = index.tolist()
        new = [row for row, number in enumerate(numbers) if number not in self._levels]
        if new:
            self._levels |= dict(zip((numbers[row] for row in new), _estimated(images[new]).cpu(), strict=True))
        return torch.stack([self._levels[number] for number in numbers]).to(images).expand_as(images)

    def _losses(self, example: Example) -> Tensor:
        """The loss [B] of a batch."""
        return self.loss(self._restore, example)

    def _restore(self, y: Tensor, std: Tensor | None) -> Tensor:
        return self.model(y, std).float()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        factor = self._factor()
        if factor == 1 and self.coarse:
            batch = self._windows(batch)
        if factor > 1 and "clean" in self.loss.needs:
            batch, factor = {**batch, INPUT: F.avg_pool2d(batch[INPUT], factor)}, 1
        example = self.example(batch, batch[EPOCH])
        loss = (self._losses(example) if factor == 1 else self._coarse_losses(example, factor)).mean()
        self.log_mean("train/loss", loss, batch, progress=True)
        return loss

    def _factor(self) -> int:
        """The factor by which the images of the next step are reduced."""
        if self.global_step >= self.coarse_steps:
            return 1
        return _COARSEST if self.global_step < self.coarse_steps // 3 else _COARSE

    def _coarse_losses(self, example: Example, factor: int) -> Tensor:
        """The squared error [B] of noisy images that are reduced by `factor`."""
        if example.again is None and example.std is None:
            example = replace(example, std=_estimated(example.measured).expand_as(example.measured))
        return Noise2Noise()(self._restore, coarse_pair(example, factor))

    def _windows(self, batch: Batch) -> Batch:
        """A random window of each image, of half its sides."""
        images = batch[INPUT]
        height, width = (side // _COARSE for side in images.shape[2:])
        free = images.new_tensor([images.shape[2] - height + 1, images.shape[3] - width + 1])
        keys = random.fold(self.plan.seed, batch[EPOCH], batch[INDEX], _WINDOW)
        corners = (random.uniform(keys, 2).to(free) * free).long()
        return {**batch, INPUT: windows(images, corners, height, width)}

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


def _estimated(images: Tensor) -> Tensor:
    """The standard deviation [B, 1, 1, 1] of white noise in images [B, C, H, W]."""
    top, left = (max(0, side - _ESTIMATED) // 2 for side in images.shape[2:])
    central = images[:, :, top : top + _ESTIMATED, left : left + _ESTIMATED]
    return estimate_sigma(central).view(-1, 1, 1, 1)
