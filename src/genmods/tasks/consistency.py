"""Consistency tuning: a diffusion model learns to sample in one to four steps."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from genmods.core.batch import INPUT, Batch
from genmods.core.settings import Count
from genmods.diffusion import TimeDensity
from genmods.diffusion.consistency import ConsistencyLoss
from genmods.models.consistency import ConsistencyModel
from genmods.tasks.base import Task


class ConsistencyTask(Task):
    """Consistency tuning of the diffusion model of an earlier run, `{name: consistency, from: RUN}`, or from scratch.

    `density` is the distribution of the noisier time of each pair; the gaps of pairs halve from stage to stage, from
    `first_stage` to `stages`, all of equal length. The validation loss is that of the last stage.
    """

    checks = "genmods.diffusion.consistency:ConsistencyLoss"
    noise_errors = True
    model: ConsistencyModel

    def __init__(
        self,
        model: ConsistencyModel,
        density: TimeDensity | None = None,
        stages: Count = 8,
        first_stage: Count = 1,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        model.process.requires_grad_(False)  # a learned schedule is not trained further
        self.model = model
        self.loss = ConsistencyLoss(density, stages, first_stage)
        self.steps = 0

    def on_train_start(self) -> None:
        self.steps = self.steps_of("consistency")

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        progress = self.global_step / self.steps if self.steps else 0.0
        return self._step(batch, "train", progress)

    def evaluation_step(self, batch: Batch, stage: str) -> None:
        self._step(batch, stage, 1.0)

    def _step(self, batch: Batch, stage: str, progress: float) -> dict[str, Tensor]:
        x0 = self.model.latents.encode(batch[INPUT])
        cond = self.model.conditioning(batch)
        losses = self.loss(self.model.denoiser, x0, cond, progress, share=self.share)
        loss = losses.per_sample.mean()
        self.log_mean(f"{stage}/loss", loss, batch, progress=True)
        return {"loss": loss, "error": losses.error, "log_snr": losses.log_snr}
