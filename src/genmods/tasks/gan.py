"""Generative adversarial networks: the non-saturating game with a zero-centred gradient penalty on real images.

The discriminator minimises softplus(-D(x)) + softplus(D(G(z))) + gamma/2 ||grad_x D(x)||^2, the generator
softplus(-D(G(z))) (Goodfellow et al. 2014; R1: Mescheder, Geiger and Nowozin 2018, eq. 9).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from genmods import keyed
from genmods.networks.base import Network
from genmods.optim.groups import parameter_groups
from genmods.tasks.base import Batch, Task


class GANTask(Task):
    """Trains a generator (`z` [B, latent] to images) against a discriminator (images to logits [B]).

    `gamma` weighs the R1 penalty. A step of the trainer is one batch, that is one update of each network.
    """

    def __init__(
        self,
        network: Network,
        discriminator: Network,
        latent: int = 64,
        gamma: float = 1.0,
        in_channels: int = 1,
        image_size: int = 28,
    ) -> None:
        super().__init__()
        if latent < 1 or gamma < 0:
            raise ValueError(f"latent must be at least 1 and gamma not negative, not {latent} and {gamma}")
        self.network, self.discriminator = network, discriminator
        self.latent, self.gamma = latent, gamma
        self.image_shape = (in_channels, image_size, image_size)
        self.automatic_optimization = False

    def configure_optimizers(self) -> Any:
        optimizers = [self.optimizer(parameter_groups(part)) for part in (self.network, self.discriminator)]
        return optimizers, [self.scheduled(optimizer) for optimizer in optimizers if self.schedule]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        real = batch["image"]
        generator_step, discriminator_step = self.optimizers()  # type: ignore[attr-defined]
        fake = self.network(torch.randn(len(real), self.latent, device=self.device))
        discriminator_loss = self._discriminator_loss(real, fake.detach())
        discriminator_step.zero_grad()
        self.manual_backward(discriminator_loss)
        discriminator_step.optimizer.step()  # the bare optimizer: only the generator's update counts as a step

        self.discriminator.requires_grad_(False)
        generator_loss = F.softplus(-self.discriminator(fake)).mean()
        generator_step.zero_grad()
        self.manual_backward(generator_loss)
        generator_step.step()
        self.discriminator.requires_grad_(True)
        for schedule in self.lr_schedulers() or []:  # type: ignore[union-attr]
            schedule.step()  # type: ignore[call-arg, union-attr]
        self.log_mean("train/loss", generator_loss, batch, progress=True)
        self.log_mean("train/loss_discriminator", discriminator_loss, batch, progress=True)
        return generator_loss.detach() + discriminator_loss.detach()

    def _discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        real = real.detach().requires_grad_(self.gamma > 0)
        score = self.discriminator(real)
        loss = F.softplus(-score).mean() + F.softplus(self.discriminator(fake)).mean()
        if self.gamma > 0:
            (gradient,) = torch.autograd.grad(score.sum(), real, create_graph=True)
            loss = loss + 0.5 * self.gamma * gradient.float().square().flatten(1).sum(1).mean()
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        real = batch["image"]
        fake = self.network(keyed.normal(keyed.fold(self.seed, batch["index"]), self.latent))
        margin = self.discriminator(real).mean() - self.discriminator(fake).mean()
        self.log_mean("val/margin", margin, batch)

    @torch.no_grad()
    def sample(self, n: int, seed: int = 0, batch_size: int = 256) -> Tensor:
        """`n` images [n, C, H, W] in [-1, 1]; image i depends on `seed` and i alone."""
        images = []
        for indices in torch.arange(n, device=self.device).split(batch_size):
            images.append(self.network(keyed.normal(keyed.fold(seed, indices), self.latent)).clamp(-1, 1).float())
        return torch.cat(images)
