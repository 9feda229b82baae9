"""Variational autoencoders: maximise E_q[log p(x | z)] - beta KL(q(z | x) || N(0, I))  (Kingma and Welling 2014)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genmods.core import random
from genmods.core.batch import INPUT, Batch
from genmods.core.progress import Progress
from genmods.networks.base import Network
from genmods.tasks.base import Task, in_batches
from genmods.tracking.monitor import Monitor


class VAETask(Task):
    """Trains an autoencoder with `encode(x) -> (mean, logvar)` and `decode(z) -> x`, Gaussian in both directions.

    `beta` weighs the KL term, in nats an image, against ||x - x_hat||^2 / (2 `sigma`^2), `sigma` on the [-1, 1] scale.
    Raises ValueError where the network has no `encode` and `decode`.
    """

    monitor = Monitor("val/loss", "min")
    network: Any
    image_shape: tuple[int, int, int]

    def __init__(
        self, network: Network, beta: float = 1.0, sigma: float = 0.2, in_channels: int = 1, image_size: int = 28
    ) -> None:
        super().__init__()
        if not (hasattr(network, "encode") and hasattr(network, "decode")):
            raise ValueError(f"{type(network).__name__} has no encode and decode; the vae task wants an autoencoder")
        if beta < 0 or sigma <= 0:
            raise ValueError(f"beta must not be negative and sigma must be positive, not {beta} and {sigma}")
        self.network = network
        self.beta, self.sigma = beta, sigma
        self.image_shape = (in_channels, image_size, image_size)

    def terms(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction error and KL divergence, in nats an image [B] each, at one draw of z."""
        mean, logvar = self.network.encode(images)
        z = mean + (logvar / 2).exp() * torch.randn_like(mean)
        error = (images - self.network.decode(z)).float().square().flatten(1).sum(1) / (2 * self.sigma**2)
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).float().flatten(1).sum(1)
        return error, kl

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

    @torch.no_grad()
    def sample(
        self, n: int, *, seed: int = 0, batch_size: int = 256, first: int = 0, progress: Progress | None = None
    ) -> Tensor:
        """Images number `first` to `first + n - 1` [n, C, H, W] in [-1, 1], decoded from z ~ N(0, I); i depends on
        `seed` and i alone.
        """
        example = torch.zeros(1, *self.image_shape, device=self.device)
        shape = self.network.encode(example)[0].shape[1:]

        def decoded(indices: Tensor) -> Tensor:
            return self.network.decode(random.normal(random.fold(seed, indices), shape.numel()).view(-1, *shape))

        return in_batches(decoded, torch.arange(first, first + n, device=self.device), batch_size, progress)
