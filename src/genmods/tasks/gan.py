"""Generative adversarial networks: the non-saturating loss with a zero-centred gradient penalty on real images.

The discriminator minimises softplus(-D(x)) + softplus(D(G(z))) + gamma/2 ||grad_x D(x)||^2, the generator
softplus(-D(G(z))) (Goodfellow et al. 2014; R1: Mescheder, Geiger and Nowozin 2018, eq. 9). Each is differentiated only
with respect to its player's weights, so that their sum is one loss for one optimizer that updates both players.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genmods.core import random
from genmods.core.batch import INDEX, INPUT, Batch
from genmods.core.devices import at_least_float32
from genmods.core.settings import NonNegative
from genmods.models import GAN
from genmods.networks.base import Network, dry_run
from genmods.tasks.base import Task


class GANTask(Task):
    """Trains a generator (`z` [B, latent] to images) against a discriminator (images to logits [B]).

    `gamma` is the weight of the R1 penalty. A step updates each network once. Raises ValueError if the discriminator
    does not return one number per image.
    """

    model: GAN

    def __init__(self, model: GAN, discriminator: Network, gamma: NonNegative = 1.0, **settings: Any) -> None:
        super().__init__(**settings)
        self.model, self.discriminator = model, discriminator
        self.gamma = gamma
        scores = dry_run(discriminator, torch.empty(2, *model.image_shape, device="meta"))
        if scores not in (None, (2,)):
            raise ValueError(f"{type(discriminator).__name__} must return one number per image, got {list(scores[1:])}")

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        fake = self.model.network(torch.randn(len(batch[INPUT]), self.model.latent, device=self.device))
        discriminator_loss = self._discriminator_loss(batch[INPUT], fake.detach())
        generator_loss = self._generator_loss(fake)
        self.log_mean("train/loss", generator_loss, batch, progress=True)
        self.log_mean("train/loss_discriminator", discriminator_loss, batch, progress=True)
        return generator_loss + discriminator_loss

    def _generator_loss(self, fake: Tensor) -> Tensor:
        self.discriminator.requires_grad_(False)  # only its own loss contributes to its gradient
        loss = F.softplus(-self.discriminator(fake)).mean()
        self.discriminator.requires_grad_(True)
        return loss

    def _discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        real = real.detach().requires_grad_(self.gamma > 0)
        score = self.discriminator(real)
        loss = F.softplus(-score).mean() + F.softplus(self.discriminator(fake)).mean()
        if self.gamma > 0:
            (gradient,) = torch.autograd.grad(score.sum(), real, create_graph=True)
            loss = loss + 0.5 * self.gamma * at_least_float32(gradient).square().flatten(1).sum(1).mean()
        return loss

    def evaluation_step(self, batch: Batch, stage: str) -> None:
        real = batch[INPUT]
        fake = self.model.network(random.normal(random.fold(self.plan.seed, batch[INDEX]), self.model.latent))
        margin = self.discriminator(real).mean() - self.discriminator(fake).mean()
        self.log_mean(f"{stage}/margin", margin, batch)

    def example_inputs(self, name: str) -> tuple[Any, ...]:
        return (torch.empty(1, *self.model.image_shape, device="meta"),)

    @property
    def double_backward(self) -> tuple[nn.Module, ...]:
        return (self.discriminator,) if self.gamma > 0 else ()
