"""A diffusion model: a denoiser, what it is conditioned on, the space it works in, and a sampler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from genmods.core.progress import Progress, part_of
from genmods.diffusion.conditioning import Condition, Conditioning
from genmods.diffusion.denoiser import Denoise, Denoiser
from genmods.diffusion.guidance import ClassifierFree
from genmods.diffusion.latents import LatentSpace
from genmods.diffusion.noise import noise_stream
from genmods.diffusion.process import NoiseProcess
from genmods.diffusion.samplers.base import Sampler
from genmods.models.likelihood import DiffusionLikelihood
from genmods.networks.base import dry_run

Guide = Callable[[Condition, Tensor], Denoise]
"""(condition, numbers of the samples int64 [B]) -> the denoiser of a batch."""


class DiffusionModel(nn.Module):
    """A denoiser of images of `image_shape` [C, H, W], or of their latents, under a condition.

    Raises:
        ValueError: The network does not return what the prediction needs for such images, or cannot take the condition.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        conditioning: Conditioning,
        latents: LatentSpace,
        sampler: Sampler,
        image_shape: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.conditioning, self.latents, self.denoiser = conditioning, latents, denoiser
        self.sampler, self.image_shape = sampler, image_shape
        self._check()

    def _check(self) -> None:
        network = self.denoiser.network
        x, *others = self.example_inputs(2)
        shape = dry_run(network, x, *others)
        if shape not in (x.shape, (2, 2 * x.shape[1], *x.shape[2:])):
            raise ValueError(f"{type(network).__name__} turns {list(x.shape[1:])} into {list(shape[1:])}, not the same")
        if shape != x.shape and self.process.levels is None:
            raise ValueError("a learned variance takes a discrete process: give the process a number of steps")
        self.conditioning.check(network)

    def example_inputs(self, n: int = 1) -> tuple[Any, ...]:
        """What the network is called with for `n` samples, on the meta device."""
        x = torch.empty(n, *self.latent_shape, device="meta")
        return x, torch.zeros(n, device="meta"), self.conditioning.example(n)

    @property
    def process(self) -> NoiseProcess:
        """The noise process of the denoiser."""
        return self.denoiser.process

    @property
    def latent_shape(self) -> torch.Size:
        """The shape [C, H, W] of what is diffused."""
        return self.latents.shape(self.image_shape)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.latents.scale.device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return next((p.dtype for p in self.denoiser.network.parameters()), torch.get_default_dtype())

    def denoise(self, cond: Condition, guidance: float = 1.0) -> Denoise:
        """The denoiser under a condition; with `guidance` other than 1, classifier-free guidance of that weight.

        Raises UserError for a condition that training has not seen.
        """
        self.conditioning.require_trained(cond)
        conditional = self.denoiser.conditioned(cond)
        if guidance == 1.0:
            return conditional
        null = self.conditioning.without(cond)
        self.conditioning.require_trained(null)
        return ClassifierFree(conditional, self.denoiser.conditioned(null), guidance)

    def unconditional(self, n: int) -> Denoise:
        """The denoiser of `n` samples about which nothing is known."""
        return self.denoise(self.conditioning.null(n, self.device))

    def likelihood(self, levels: int) -> DiffusionLikelihood | None:
        """The likelihood of images of `levels` grey levels; None for a model of latents."""
        if not self.latents.is_pixels:
            return None
        return DiffusionLikelihood(self.unconditional, levels, self.device)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        condition: Mapping[str, Any] | None = None,
        *,
        seed: int = 0,
        sampler: Sampler | None = None,
        guidance: float = 1.0,
        guide: Guide | None = None,
        batch_size: int = 256,
        first: int = 0,
        progress: Progress | None = None,
    ) -> Tensor:
        """Make the samples number `first` to `first + n - 1` of a seed.

        Args:
            n: The number of images.
            condition: Values by the names of the conditioning, such as `{"label": 3}`; a list of values is dealt out in
                turn. None: the conditioning's default, such as all classes in turn.
            seed: Sample i depends on it, on i and on its condition alone.
            sampler: In place of the model's own.
            guidance: The weight of classifier-free guidance; 1 is none.
            guide: Makes the denoiser of a batch from its condition and the numbers of its samples, in place of
                classifier-free guidance.
            batch_size: How many are made together.
            first: The number of the first sample.
            progress: Called with (steps done, all steps) after each step of each batch.

        Returns:
            Images [n, C, H, W] in [-1, 1].

        Raises:
            UserError: A name or a value of `condition` is unknown.
        """
        sampler = sampler or self.sampler
        indices = torch.arange(first, first + n, device=self.device)
        cond = self.conditioning.requested(n, condition, indices, self.device)
        chunks = indices.split(batch_size)
        images, shape = [], tuple(self.latent_shape)
        for number, chunk in enumerate(chunks):
            rows = chunk - first
            some = {name: value[rows] for name, value in cond.items()}
            denoise = guide(some, chunk) if guide else self.denoise(some, guidance)
            noise = noise_stream(seed, chunk, shape, self.device)
            x0 = sampler.sample(denoise, noise, part_of(progress, number, len(chunks)))
            images.append(self.latents.decode(x0))
        return torch.cat(images)
