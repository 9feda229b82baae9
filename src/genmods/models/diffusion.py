"""A diffusion model: a denoiser with its conditioning, latent space and sampler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from genmods.config import registry
from genmods.core import random
from genmods.core.batch import INPUT, Batch
from genmods.core.errors import UserError
from genmods.core.image_range import check_finite
from genmods.core.progress import Progress, part_of
from genmods.core.settings import ClassNames, DataChannels, DataClasses, DataSides, GrayLevels, Positive, SigmaData
from genmods.core.sizes import sides
from genmods.diffusion.conditioning import ClassLabels, Condition, Conditioning, Unconditional
from genmods.diffusion.denoiser import Denoise, Denoiser, mmse
from genmods.diffusion.guidance import ClassifierFree
from genmods.diffusion.latents import LatentSpace
from genmods.diffusion.noise import noise_stream
from genmods.diffusion.prediction import Prediction
from genmods.diffusion.process import NoiseProcess
from genmods.diffusion.samplers.base import Sampler
from genmods.diffusion.samplers.unipc import UniPCSampler
from genmods.models.base import Inspection, Model
from genmods.models.likelihood import DiffusionLikelihood
from genmods.networks.base import Network, dry_run

Guide = Callable[[Condition, Tensor], Denoise]
"""(condition, sample indices int64 [B]) -> the denoiser of a batch."""


class DiffusionModel(Model):
    """A conditional denoiser of images of the data's shape, or of their latents, and a sampler.

    Args:
        network: The network, whose output is the `prediction`.
        process: The forward noising process.
        prediction: Parameterisation of the network output, such as v-prediction.
        sampler: The default sampler; None: UniPC with 16 steps.
        conditioning: None: class labels if the data has classes, otherwise unconditional.
        codec: An autoencoder whose latents are diffused instead of pixels (latent diffusion).
        latent_scale: Factor that scales the root mean square of the latents to 1, which replaces `sigma_data`; None:
            measured on training images.
        in_channels, image_size, num_classes, sigma_data, levels, class_names: Facts of the data.

    Raises:
        ValueError: If the network's output does not fit the prediction, the network does not support the condition, or
            the sampler does not support the process.
    """

    image_shape: tuple[int, int, int]
    own_sampler: ClassVar[Sampler] = UniPCSampler(steps=16)
    """The default sampler."""

    def __init__(
        self,
        network: Network,
        process: NoiseProcess,
        prediction: Prediction,
        sampler: Sampler | None = None,
        conditioning: Conditioning | None = None,
        codec: Network | None = None,
        latent_scale: Positive | None = None,
        in_channels: DataChannels = 1,
        image_size: DataSides = 28,
        num_classes: DataClasses = 0,
        sigma_data: SigmaData = 1.0,
        levels: GrayLevels = 256,
        class_names: ClassNames | None = None,
    ) -> None:
        super().__init__()
        self.conditioning = conditioning or _default_conditioning(num_classes, class_names)
        self.latents = LatentSpace(codec, latent_scale)
        self.denoiser = Denoiser(network, process, prediction, sigma_data if self.latents.is_pixels else 1.0)
        self.sampler = sampler or self.own_sampler
        self.image_shape, self.levels = (in_channels, *sides(image_size)), levels
        self.uses_classes = "label" in self.conditioning.names
        self.class_names = class_names or [str(k) for k in range(num_classes)]
        self._check()

    @classmethod
    def facts_of_parts(cls, facts: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """With a codec, the diffused latents have unit variance; several labels or numbers do not count as classes."""
        facts = facts if given.get("codec") is None else facts | {"sigma_data": 1.0}
        return facts if facts.get("label_kind", "class") == "class" else facts | {"num_classes": 0}

    def _check(self) -> None:
        network = self.denoiser.network
        x, *others = self._inputs(2)
        shape = dry_run(network, x, *others)
        if shape is None:
            return
        if shape not in (x.shape, (2, 2 * x.shape[1], *x.shape[2:])):
            raise ValueError(f"{type(network).__name__} must keep the shape {list(x.shape[1:])}, got {list(shape[1:])}")
        if shape != x.shape and self.process.levels is None:
            raise ValueError("a learned variance requires a discrete process; set the steps of the process")
        self.conditioning.check(network)
        self.check_sampler(self.sampler)

    def check_sampler(self, sampler: Sampler) -> None:
        """Raises ValueError, or UserError, if `sampler` cannot be used with this model."""
        if sampler.needs_average and not getattr(self.denoiser.network, "two_times", False):
            raise UserError("the sampler mean_flow requires a model trained by the task mean_flow")
        sampler.time_grid(self.process)

    def _inputs(self, n: int) -> tuple[Any, ...]:
        """Example arguments of the network for `n` samples, on the meta device."""
        x = torch.empty(n, *self.latent_shape, device="meta")
        return x, torch.zeros(n, device="meta"), self.conditioning.example(n)

    def example_inputs(self, name: str) -> tuple[Any, ...]:
        return super().example_inputs(name) if name == "codec" else self._inputs(1)

    def fit_statistics(self, batch: Batch) -> None:
        self.latents.fit(batch[INPUT])
        self.conditioning.fit(batch)

    def diffusion_model(self) -> DiffusionModel:
        """This model, for code that accepts any model with this ability."""
        return self

    def conditioned_on(self) -> Conditioning:
        return self.conditioning

    def default_sampler(self) -> Sampler:
        return self.sampler

    @property
    def process(self) -> NoiseProcess:
        """The noise process of the denoiser."""
        return self.denoiser.process

    @property
    def latent_shape(self) -> torch.Size:
        """The shape [C, H, W] of the diffused images or latents."""
        return self.latents.shape(self.image_shape)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.latents.scale.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return next((p.dtype for p in self.denoiser.network.parameters()), torch.get_default_dtype())

    def denoise(self, cond: Condition, guidance: float = 1.0) -> Denoise:
        """The denoiser for a condition, with classifier-free guidance if `guidance` is not 1.

        Raises UserError if the model was not trained for such a condition, or without the null condition for guidance.
        """
        self.conditioning.require_trained(cond)
        conditional = self.denoiser.conditioned(cond)
        if guidance == 1.0:
            return conditional
        null = self.conditioning.without(cond)
        self.conditioning.require_trained(null)
        return ClassifierFree(conditional, self.denoiser.conditioned(null), guidance)

    def unconditional(self, n: int) -> Denoise:
        """The denoiser for the null condition of `n` samples."""
        return self.denoise(self.conditioning.null(n, self.device))

    def likelihood(self) -> DiffusionLikelihood | None:
        """The likelihood of images with the data's number of grey levels; None for a model of latents."""
        if not self.latents.is_pixels:
            return None
        return DiffusionLikelihood(self.unconditional, self.levels, self.device)

    def inspect(self, image: Tensor, condition: Mapping[str, Any] | None, sigma: float) -> Inspection:
        check_finite(image[None])
        first = torch.zeros(1, dtype=torch.int64)
        cond = self.conditioning.requested(1, condition, first) if condition else self.conditioning.null(1)
        x0 = self.latents.encode(image[None])
        noisy = x0 + sigma * random.normal(random.fold(0)[None], x0.numel()).view_as(x0)
        calls: list[tuple[Any, ...]] = []
        handle = self.denoiser.network.register_forward_pre_hook(lambda _, inputs: calls.append(inputs))
        with torch.no_grad():
            mmse(self.denoise(cond), noisy, torch.tensor([sigma]))
        handle.remove()
        return Inspection(self.denoiser.network, calls[0], noisy[0] if self.latents.is_pixels else image)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        condition: Mapping[str, Any] | None = None,
        *,
        seed: int = 0,
        sampler: Sampler | str | None = None,
        steps: int | None = None,
        guidance: float = 1.0,
        guide: Guide | None = None,
        batch_size: int = 256,
        first: int = 0,
        progress: Progress | None = None,
    ) -> Tensor:
        """Generate the samples with indices `first` to `first + n - 1`.

        Args:
            n: Number of images.
            condition: Values by the names of the conditioning, such as `{"label": 3}`; sample i has value i mod k of
                a list of k. None: the conditioning's default, such as all classes in turn.
            seed: Random seed; sample i depends only on the seed, i and its condition.
            sampler: Replaces the default sampler; also the name of a registered one.
            steps: Number of sampling steps, instead of the sampler's.
            guidance: Scale of classifier-free guidance; 1 means no guidance.
            guide: Returns the denoiser of a batch, given its condition and sample indices; replaces classifier-free
                guidance.
            batch_size: Number of samples per batch.
            first: Index of the first sample.
            progress: Called with (steps done, total steps) after each step of each batch.

        Returns:
            Images [n, C, H, W] in [-1, 1].

        Raises:
            UserError: If a name or a value of `condition` is unknown.
        """
        sampler = choose_sampler(self.sampler, sampler, steps, self)
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


def _default_conditioning(num_classes: int, class_names: list[str] | None) -> Conditioning:
    return ClassLabels(num_classes=num_classes, class_names=class_names) if num_classes else Unconditional()


def choose_sampler(own: Sampler, sampler: Sampler | str | None, steps: int | None, model: object) -> Sampler:
    """The default sampler `own` of a model, or another one, possibly by name; with `steps` steps or as many as `own`.

    Raises UserError for an unknown name, and if `model` refuses the sampler (`check_sampler`, if it has this method).
    """
    chosen = own if sampler is None else sampler
    if sampler is None and steps is None:
        return own
    try:
        if isinstance(chosen, str):
            cls: Any = registry.resolve(registry.find("sampler", chosen))
            chosen = cls(steps=own.steps if steps is None else steps)
        elif steps is not None:
            chosen = replace(chosen, steps=steps)
        check = getattr(model, "check_sampler", None)
        if check is not None:
            check(chosen)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"steps: {error}") from None
    return chosen
