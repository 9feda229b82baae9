"""Average velocities: a diffusion model learns to sample in one to four steps, from scratch or from an earlier run."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from genmods.core.batch import INPUT, Batch
from genmods.core.settings import Fraction
from genmods.diffusion import TimeDensity
from genmods.diffusion.mean_flow import MeanFlowLoss
from genmods.models.mean_flow import MeanFlowModel
from genmods.tasks.base import Task


class MeanFlowTask(Task):
    """Trains the average velocities of a diffusion model, from scratch or of an earlier run, `{name: mean_flow, from:
    RUN}`.

    `density` is the distribution of the two times of a sample; `gaps` is the share of the samples for which they
    differ. The logged loss is the unweighted error of the velocity.
    """

    noise_errors = True
    model: MeanFlowModel

    def __init__(
        self, model: MeanFlowModel, density: TimeDensity | None = None, gaps: Fraction = 0.25, **settings: Any
    ) -> None:
        super().__init__(**settings)
        model.process.requires_grad_(False)  # a learned schedule is not trained further
        self.model = model
        self.loss = MeanFlowLoss(density, gaps, model.max_guidance)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self._step(batch, "train")

    def evaluation_step(self, batch: Batch, stage: str) -> None:
        self._step(batch, stage)

    def _step(self, batch: Batch, stage: str) -> dict[str, Tensor]:
        x0, conditioning = self.model.latents.encode(batch[INPUT]), self.model.conditioning
        cond = conditioning(batch)
        losses = self.loss(self.model.denoiser, x0, cond, conditioning.null(len(x0), x0.device), share=self.share)
        self.log_mean(f"{stage}/loss", losses.error.mean(), batch, progress=True)
        return {"loss": losses.per_sample.mean(), "error": losses.error, "log_snr": losses.log_snr}
