"""Strips of a few fixed images: forward and reverse diffusion, one-step denoising, inpainting.

A strip is a grid with one row per image and one column per noise level or stage.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from annotated_types import MinLen
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from genmods.callbacks.intervals import Periodic
from genmods.callbacks.requirement import Requiring
from genmods.callbacks.weights import evaluation_weights
from genmods.core.batch import INPUT
from genmods.core.errors import UserError
from genmods.core.settings import Count, Positive, Seed, Steps
from genmods.diffusion import Denoise, Estimate, NoiseProcess, NoiseStream, noise_stream
from genmods.diffusion.denoiser import DenoiserWrapper, mmse
from genmods.models import DiffusionModel, model_of
from genmods.restoration.methods.base import Measurement
from genmods.restoration.methods.ddnm import DDNM
from genmods.restoration.operators.masks import BoxMask
from genmods.tracking.base import logbook
from genmods.visual.picture import to_picture


class Strip(Requiring, Periodic):
    """Draws `columns` of the first `images` validation images at each `every`-th validation."""

    requires = "diffusion_model"
    series = "strip"

    def __init__(self, images: Count = 4, every: Count = 1, seed: Seed = 0) -> None:
        super().__init__(every)
        self.count, self.seed = images, seed
        self.batch: dict[str, Tensor] = {}

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if not self.batch:
            self.batch = {name: value[: self.count].clone() for name, value in batch.items()}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.due(trainer) or not self.batch or not trainer.is_global_zero:
            return
        with evaluation_weights(trainer, pl_module):
            columns = self.columns(model_of(pl_module).diffusion_model(), self.batch[INPUT])
        rows = torch.stack([column.float() for column in columns], dim=1).flatten(0, 1)
        logbook(trainer).picture(self.series, to_picture(rows, len(columns)))

    def columns(self, model: DiffusionModel, images: Tensor) -> list[Tensor]:
        """The columns of the strip for `images` [B, C, H, W], each [B, C, H, W] in [-1, 1]."""
        raise NotImplementedError

    def denoise(self, model: DiffusionModel) -> Denoise:
        """The denoiser for the condition of the images, or the null condition if that would reveal the image."""
        if model.conditioning.reveals_image:
            return model.unconditional(len(self.batch[INPUT]))
        return model.denoise(model.conditioning(self.batch))


def _stream(like: Tensor, seed: int) -> NoiseStream:
    """Noise for as many samples as `like` [B, ...], the same each time."""
    return noise_stream(seed, torch.arange(len(like)), tuple(like.shape[1:]), like.device)


class DiffusionStrip(Strip):
    """Left: images diffused to `stages` times. Right: estimates of x0 at as many steps of sampling new images."""

    series = "strip"

    def __init__(self, images: Count = 4, every: Count = 1, seed: Seed = 0, stages: Count = 6) -> None:
        super().__init__(images, every, seed)
        self.stages = stages

    def columns(self, model: DiffusionModel, images: Tensor) -> list[Tensor]:
        x0 = model.latents.encode(images)
        eps, process = _stream(x0, self.seed).initial(), model.process
        forward = []
        for t in torch.linspace(process.t_min, process.t_max, self.stages, device=x0.device):
            forward.append(model.latents.decode(_unit(process.diffuse(x0, eps, t.expand(len(x0))), process, t[None])))
        return forward + self._reverse(model, x0)

    def _reverse(self, model: DiffusionModel, like: Tensor) -> list[Tensor]:
        watched = _Watched(self.denoise(model))
        last = model.sampler.sample(watched, _stream(like, self.seed))
        chosen = torch.linspace(0, len(watched.seen) - 1, self.stages - 1).round().int().tolist()
        return [model.latents.decode(watched.seen[i]) for i in chosen] + [model.latents.decode(last)]


@dataclass(frozen=True)
class _Watched(DenoiserWrapper):
    """A denoiser that records its estimates of x0."""

    seen: list[Tensor] = field(default_factory=list)

    def __call__(self, x_t: Tensor, t: Tensor) -> Estimate:
        return self._record(self.denoiser(x_t, t))

    def average(self, x_t: Tensor, t: Tensor, end: Tensor) -> Estimate:
        """The average estimate of a mean-flow model, recorded, too."""
        average: Any = self.denoiser
        return self._record(average.average(x_t, t, end))

    def _record(self, estimate: Estimate) -> Estimate:
        self.seen.append(estimate.x0)
        return estimate


def _unit(x: Tensor, process: NoiseProcess, t: Tensor) -> Tensor:
    """A noisy image divided by √(α² + σ²), so that all noise levels are shown at the same brightness."""
    return x / (process.alpha(t) ** 2 + process.sigma(t) ** 2).sqrt().to(x)


class DenoiseStrip(Strip):
    """Each image clean, then noisy and denoised in one step for the noise levels `sigmas` (0 to 255)."""

    series = "denoise"

    def __init__(
        self,
        images: Count = 4,
        every: Count = 1,
        seed: Seed = 0,
        sigmas: Annotated[tuple[Positive, ...], MinLen(1)] = (25.0, 50.0, 100.0),
    ) -> None:
        super().__init__(images, every, seed)
        self.sigmas = tuple(sigmas)

    def columns(self, model: DiffusionModel, images: Tensor) -> list[Tensor]:
        x0 = model.latents.encode(images)
        eps, denoise = _stream(x0, self.seed).initial(), self.denoise(model)
        columns = [images]
        for sigma in self.sigmas:
            level = torch.full((len(x0),), 2 * sigma / 255, device=x0.device)
            noisy = x0 + 2 * sigma / 255 * eps
            columns += [model.latents.decode(noisy), model.latents.decode(mmse(denoise, noisy, level))]
        return columns


class InpaintStrip(Strip):
    """Each image clean, with its centre masked, and inpainted `copies` times by DDNM."""

    series = "inpaint"
    excludes = "codec"

    def __init__(
        self, images: Count = 4, every: Count = 1, seed: Seed = 0, steps: Steps = 20, copies: Count = 3
    ) -> None:
        super().__init__(images, every, seed)
        self.steps, self.copies = steps, copies

    def require(self, task: LightningModule) -> None:
        super().require(task)
        if not model_of(task).diffusion_model().latents.is_pixels:
            raise UserError("InpaintStrip requires a diffusion model of pixels, got one of latents")

    def columns(self, model: DiffusionModel, images: Tensor) -> list[Tensor]:
        operator = BoxMask()
        measured = operator(images)
        denoise = self.denoise(model)
        columns = [images, measured]
        for copy in range(self.copies):
            noise = _stream(images, self.seed + copy)
            measurement = Measurement(operator, measured)
            columns.append(DDNM(steps=self.steps).sample(denoise, measurement, noise).clamp(-1, 1))
        return columns
