"""Evaluation of image restoration by a trained diffusion model on a test set, through Lightning, without training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genmods.core import random
from genmods.core.batch import INDEX, INPUT, LABEL, Batch
from genmods.core.settings import Count, NonNegative, Steps
from genmods.metrics.fidelity import psnr, ssim
from genmods.models import model_of
from genmods.restoration.denoising import denoise
from genmods.restoration.methods import Method
from genmods.restoration.operators import Identity, Mask, Operator
from genmods.restoration.restore import check_settings, restore
from genmods.tasks.base import Task


class RestorationTask(Task):
    """Degrades test images with `operator` and white noise, restores them and reports PSNR and SSIM.

    The identity operator means denoising with one network call, the MMSE estimate. For other operators, `samples`
    posterior samples are drawn and their mean is scored. With a mask, PSNR (dB) is computed in the hole only.

    Args:
        model: A diffusion run, `{from: RUN}`.
        operator: The degradation.
        sigma: Standard deviation of the noise on the scale of 0 to 255.
        method: The posterior sampler; None: chosen for the operator.
        samples: Number of posterior samples per image.
        steps: Network calls per sample if `method` is None, by default 20.
        use_label: Whether the model is conditioned on the class of each image.
    """

    trainable = False
    checks = "genmods.restoration.restore:check_settings"
    reports = ("restoration_report",)

    def __init__(
        self,
        model: Task,
        operator: Operator,
        sigma: NonNegative = 0.0,
        method: Method | None = None,
        samples: Count = 1,
        steps: Steps | None = None,
        use_label: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        check_settings(operator, sigma, method, steps, model_of(model))
        steps = 20 if steps is None else steps
        self.model = model_of(model).requires_grad_(False)
        self.operator, self.sigma, self.method = operator, 2 * sigma / 255, method
        self.samples, self.steps, self.use_label = samples, steps, use_label

    def degrade(self, images: Tensor, index: Tensor) -> Tensor:
        """The noisy measurements [B, ...] of `images` [B, C, H, W] with indices `index` (int64 [B])."""
        y = self.operator(images)
        noise = random.normal(random.fold(self.plan.seed, index), y[0].numel()).view(y.shape)
        return y + self.sigma * noise.to(y)

    def restored(self, y: Tensor, index: Tensor, label: Tensor | None) -> Tensor:
        """The restored images [B, C, H, W] in [-1, 1] for measurements `y` [B, ...]."""
        if isinstance(self.operator, Identity) and self.method is None:
            return denoise(y, self.model, self.sigma, label)
        method, numbers = self.method or "auto", index.cpu()
        return restore(
            y, self.operator, self.model, method, self.sigma, self.samples, self.steps, self.plan.seed, label, numbers
        ).mean(0)

    def evaluation_step(self, batch: Batch, stage: str) -> dict[str, Tensor]:
        """Log the scores; returns clean, measured and restored images for callbacks."""
        images, index = batch[INPUT], batch[INDEX]
        with torch.no_grad():
            measured = self.degrade(images, index)
            restored = self.restored(measured, index, batch[LABEL] if self.use_label else None)
        hole = ~self.operator.known(images) if isinstance(self.operator, Mask) else None
        fidelity = psnr(restored, images, hole)
        self.log_mean(f"{stage}/psnr", fidelity.mean(), batch, progress=True)
        self.log_mean(f"{stage}/ssim", ssim(restored, images, hole).mean(), batch)
        return {"index": index, "clean": images, "measured": measured, "restored": restored, "psnr": fidelity}
