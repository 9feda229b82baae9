"""Variational autoencoders: maximise E_q[log p(x | z)] - beta KL(q(z | x) || N(0, I))  (Kingma and Welling 2014)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from genmods.core.batch import INPUT, Batch
from genmods.core.devices import at_least_float32
from genmods.core.settings import NonNegative, Positive
from genmods.models import VAE
from genmods.tasks.base import Task
from genmods.tracking.monitor import Monitor


class VAETask(Task):
    """Trains an autoencoder with `encode(x) -> (mean, logvar)` and `decode(z) -> x`, Gaussian in both directions.

    The loss is -ln N(x; x_hat, sigma^2 I) + beta KL in nats per image, an upper bound of -ln p(x) for `beta` 1. `sigma`
    is on the scale of [-1, 1].
    """

    monitor = Monitor("val/loss", "min")
    model: VAE

    def __init__(self, model: VAE, beta: NonNegative = 1.0, sigma: Positive = 0.2, **settings: Any) -> None:
        super().__init__(**settings)
        self.model = model
        self.beta, self.sigma = beta, sigma

    def terms(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """-ln p(x | z) and the KL divergence in nats per image, [B] each, for one sample of z."""
        mean, logvar = self.model.network.encode(images)
        z = mean + (logvar / 2).exp() * torch.randn_like(mean)
        error = at_least_float32(images - self.model.network.decode(z)).square().flatten(1)
        volume = error.shape[1] * math.log(self.sigma * math.sqrt(2 * math.pi))
        kl = 0.5 * at_least_float32(mean.square() + logvar.exp() - 1 - logvar).flatten(1).sum(1)
        return error.sum(1) / (2 * self.sigma**2) + volume, kl

    def _loss(self, batch: Batch, stage: str) -> Tensor:
        error, kl = self.terms(batch[INPUT])
        loss = (error + self.beta * kl).mean()
        self.log_mean(f"{stage}/loss", loss, batch, progress=True)
        self.log_mean(f"{stage}/reconstruction", error.mean(), batch)
        self.log_mean(f"{stage}/kl", kl.mean(), batch)
        return loss

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._loss(batch, "train")

    def evaluation_step(self, batch: Batch, stage: str) -> None:
        self._loss(batch, stage)
