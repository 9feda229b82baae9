"""Diffusion models: training of a denoiser at all noise levels, and sampling, with or without conditioning."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from genmods.core.batch import INDEX, INPUT, Batch
from genmods.diffusion import DiffusionLoss, TimeDensity, Weighting
from genmods.models import DiffusionModel
from genmods.tasks.base import Task
from genmods.tracking.monitor import Monitor


class DiffusionTask(Task):
    """Trains a diffusion model at all noise levels: `density` is the distribution of times, `weighting` of the loss.

    A model of pixels whose weighting makes the loss a bound on the likelihood (`elbo`) logs `val/bpd`, which selects
    `best.ckpt`.
    """

    noise_errors = True
    model: DiffusionModel

    def __init__(
        self,
        model: DiffusionModel,
        density: TimeDensity | None = None,
        weighting: Weighting | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.model = model
        self.loss = DiffusionLoss(density, weighting)
        self.loss.check(model.process)
        self.logs_bpd = self.loss.weighting.bounds_likelihood and model.likelihood() is not None
        if self.logs_bpd and not model.conditioning.learns_null:
            raise ValueError(
                "conditioning.drop must be above 0 with the weighting `elbo`, which bounds the unconditional likelihood"
            )
        self.monitor = Monitor("val/bpd", "min") if self.logs_bpd else None

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self._step(batch, "train")

    def evaluation_step(self, batch: Batch, stage: str) -> None:
        self._step(batch, stage)
        likelihood = self.model.likelihood() if self.logs_bpd else None
        if likelihood is not None:
            bits = likelihood.terms(batch[INPUT], batch[INDEX], num_times=1)
            self.log_mean(f"{stage}/bpd", bits.total.float().mean(), batch, progress=True)

    def noise(self, x0: Tensor, batch: Batch) -> Tensor | None:
        """The noise ε of the shape of `x0` [B, ...]; None for independent noise, drawn by the loss."""
        return None

    def _step(self, batch: Batch, stage: str) -> dict[str, Tensor]:
        """The loss, and, for callbacks, error [B] and log-SNR [B] per sample."""
        x0 = self.model.latents.encode(batch[INPUT])
        cond = self.model.conditioning(batch)
        losses = self.loss(self.model.denoiser, x0, cond, eps=self.noise(x0, batch), share=self.share)
        loss = losses.per_sample.mean()
        self.log_mean(f"{stage}/loss", loss, batch, progress=True)
        return {"loss": loss, "error": losses.error, "log_snr": losses.log_snr}
