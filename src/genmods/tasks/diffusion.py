"""Diffusion models: a denoiser trained at all noise levels, then sampled, with or without a condition and guidance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from genmods.core import random
from genmods.core.batch import INDEX, INPUT, Batch
from genmods.diffusion import (
    Denoiser,
    DiffusionLoss,
    NoiseProcess,
    Prediction,
    Sampler,
    TimeDensity,
    UniPCSampler,
    Weighting,
)
from genmods.diffusion.conditioning import ClassLabels, Conditioning, Unconditional
from genmods.diffusion.latents import LatentSpace
from genmods.models import DiffusionLikelihood, DiffusionModel, Inspection
from genmods.networks.base import Network
from genmods.restoration.denoising import mmse
from genmods.tasks.base import Task
from genmods.tracking.monitor import Monitor


class DiffusionTask(Task):
    """Trains `network` to make the `prediction` for images noised by `process`, and samples with `sampler`.

    `conditioning`: what the network is conditioned on; None: class labels where the data have classes, else nothing.
    `codec` is an autoencoder whose latents are diffused in place of pixels; `latent_scale` brings their root mean
    square to 1, which stands for `sigma_data` then, and is measured on the training images where it is left open.
    A model of pixels whose weighting makes the loss a bound on the likelihood (`elbo`) logs `val/bpd`, which chooses
    `best.ckpt`.

    Raises:
        ValueError: The network does not return what the prediction needs for images of the data's shape.
    """

    image_shape: tuple[int, int, int]

    def __init__(
        self,
        network: Network,
        process: NoiseProcess,
        prediction: Prediction,
        sampler: Sampler | None = None,
        density: TimeDensity | None = None,
        weighting: Weighting | None = None,
        conditioning: Conditioning | None = None,
        codec: Network | None = None,
        latent_scale: float | None = None,
        in_channels: int = 1,
        image_size: int = 28,
        num_classes: int = 0,
        sigma_data: float = 1.0,
        levels: int = 256,
        class_names: list[str] | None = None,
    ) -> None:
        super().__init__()
        self.image_shape = (in_channels, image_size, image_size)
        if conditioning is None:
            conditioning = _default_conditioning(num_classes, class_names)
        latents = LatentSpace(codec, latent_scale)
        denoiser = Denoiser(network, process, prediction, sigma_data if latents.is_pixels else 1.0)
        self.model = DiffusionModel(
            denoiser, conditioning, latents, sampler or UniPCSampler(steps=16), self.image_shape
        )
        self.loss = DiffusionLoss(density, weighting)
        self.loss.check(process)
        self.levels = levels
        self.uses_classes = "label" in conditioning.names
        self.class_names = class_names or [str(k) for k in range(num_classes)]
        self.logs_bpd = latents.is_pixels and self.loss.weighting.bounds_likelihood
        if self.logs_bpd and not conditioning.learns_null:
            raise ValueError("the likelihood that `elbo` bounds is without a condition: set conditioning.drop above 0")
        self.monitor = Monitor("val/bpd", "min") if self.logs_bpd else None

    @classmethod
    def facts_of_parts(cls, facts: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """With a codec, what is diffused are latents of unit size."""
        return facts if given.get("codec") is None else facts | {"sigma_data": 1.0}

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self._step(batch, "train")

    def evaluation_step(self, batch: Batch, stage: str) -> None:
        self._step(batch, stage)
        likelihood = self.likelihood() if self.logs_bpd else None
        if likelihood is not None:
            bits = likelihood.terms(batch[INPUT], batch[INDEX], num_times=1)
            self.log_mean(f"{stage}/bpd", bits.total.float().mean(), batch, progress=True)

    def _step(self, batch: Batch, stage: str) -> dict[str, Tensor]:
        """The loss, and for callbacks the error and the log-SNR [B] of each sample."""
        x0 = self.model.latents.encode(batch[INPUT])
        losses = self.loss(self.model.denoiser, x0, self.model.conditioning(batch))
        loss = losses.per_sample.mean()
        self.log_mean(f"{stage}/loss", loss, batch, progress=True)
        return {"loss": loss, "error": losses.error, "log_snr": losses.log_snr}

    def fit_statistics(self, batch: Batch) -> None:
        self.model.latents.fit(batch[INPUT])
        self.model.conditioning.fit(batch)

    def diffusion_model(self) -> DiffusionModel:
        return self.model

    def conditioned_on(self) -> Conditioning:
        return self.model.conditioning

    def default_sampler(self) -> Sampler:
        return self.model.sampler

    def likelihood(self) -> DiffusionLikelihood | None:
        return self.model.likelihood(self.levels)

    def sample(self, n: int, condition: Mapping[str, Any] | None = None, **settings: Any) -> Tensor:
        """`n` images [n, C, H, W] in [-1, 1]; see `DiffusionModel.sample` for the settings."""
        return self.model.sample(n, condition, **settings)

    def inspect(self, image: Tensor, condition: Mapping[str, Any] | None, sigma: float) -> Inspection:
        model = self.model
        first = torch.zeros(1, dtype=torch.int64)
        cond = model.conditioning.requested(1, condition, first) if condition else model.conditioning.null(1)
        x0 = model.latents.encode(image[None])
        noisy = x0 + sigma * random.normal(random.fold(0)[None], x0.numel()).view_as(x0)
        calls: list[tuple[Any, ...]] = []
        handle = model.denoiser.network.register_forward_pre_hook(lambda _, inputs: calls.append(inputs))
        with torch.no_grad():
            mmse(model.denoise(cond), noisy, torch.tensor([sigma]))
        handle.remove()
        return Inspection(model.denoiser.network, calls[0], noisy[0] if model.latents.is_pixels else image)

    def example_inputs(self, name: str) -> tuple[Any, ...]:
        return super().example_inputs(name) if name == "codec" else self.model.example_inputs()


def _default_conditioning(num_classes: int, class_names: list[str] | None) -> Conditioning:
    return ClassLabels(num_classes=num_classes, class_names=class_names) if num_classes else Unconditional()
