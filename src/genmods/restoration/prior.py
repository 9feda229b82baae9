"""A diffusion model for restoration: a denoiser for images of any size, with a label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from genmods.core.errors import UserError
from genmods.core.printable import counted
from genmods.core.progress import Progress
from genmods.diffusion.conditioning import Conditioning, MaskedImage, Unconditional
from genmods.diffusion.denoiser import Condition, Denoise
from genmods.diffusion.processes.variance_exploding import EDMProcess
from genmods.diffusion.samplers.base import Sampler
from genmods.models import Denoises, Model, Restores
from genmods.restoration.corruption import Corruption
from genmods.restoration.degraded import Degraded
from genmods.restoration.operators import Identity, Operator
from genmods.restoration.tiles import Tiled


@dataclass(frozen=True)
class Prior:
    """A denoiser with the properties that restoration needs.

    Attributes:
        bind: `bind(cond)` is the denoiser with a condition.
        shape: The shape [C, H, W] of the training images, if known.
        conditioning: The conditioning of the model.
        dtype: The dtype of the weights; None if any dtype is accepted.
        network: The network of a model that was trained for restoration, which is called once instead; `bind` is then
            set only if it is a diffusion denoiser, too.
        sampler: The sampler of a model that was trained with degraded images.
    """

    bind: Callable[[Condition], Denoise]
    shape: tuple[int, int, int] | None = None
    conditioning: Conditioning = field(default_factory=Unconditional)
    dtype: torch.dtype | None = None
    network: Restores | None = None
    sampler: Sampler | None = None

    @classmethod
    def of(cls, model: Any) -> Prior:
        """The prior of a denoiser or a trained diffusion model. Raises UserError for other objects."""
        if isinstance(model, Prior):
            return model
        if isinstance(model, Denoise) and not isinstance(model, Model | Denoises):
            return cls(lambda cond: model)
        if isinstance(model, Restores):
            return cls(lambda cond: model.denoiser(EDMProcess()), model.image_shape, network=model)
        if not isinstance(model, Denoises):
            raise UserError(f"restoration requires a diffusion model, got {type(model).__name__}")
        diffusion = model.diffusion_model()
        if not diffusion.latents.is_pixels:
            raise UserError("restoration requires a diffusion model of pixels, got one of latents")
        shape, conditioning = diffusion.image_shape, diffusion.conditioning
        sampler = diffusion.default_sampler() if isinstance(conditioning, Degraded) else None
        return cls(diffusion.denoise, shape, conditioning, diffusion.dtype, sampler=sampler)

    @property
    def sees_masks(self) -> bool:
        """Whether the model is conditioned on the known pixels."""
        return isinstance(self.conditioning, MaskedImage)

    @property
    def degraded(self) -> Degraded | None:
        """The conditioning of a model that was trained with degraded images."""
        return self.conditioning if isinstance(self.conditioning, Degraded) else None

    @property
    def operator(self) -> Operator | None:
        """The operator that the model was trained to invert; None if it was not trained for restoration."""
        trained = self.network if self.network is not None else self.degraded
        return trained.operator if trained is not None else None

    @property
    def corruption(self) -> Corruption | None:
        """The corruption that the model was trained to remove, if any."""
        trained = self.network if self.network is not None else self.degraded
        return trained.corruption if trained is not None else None

    def typed(self, y: Tensor) -> Tensor:
        """`y` in the dtype of the model."""
        return y if self.dtype is None else y.to(self.dtype)

    def denoise(
        self,
        images: Tensor,
        label: Tensor | None = None,
        image: Tensor | None = None,
        progress: Progress | None = None,
    ) -> Denoise:
        """The denoiser for images of the shape of `images` [B, C, H, W]; tiled if their size is not that of training.

        Args:
            images: Images [B, C, H, W].
            label: Classes int64 [B], -1 for none.
            image: The condition [B, 1 + C, H, W] of a mask-conditional model or of one of degraded images.
            progress: Called as `progress(done, total)` with numbers of tiles, in each call.

        Raises:
            UserError: If the model does not have the label, or another number of channels.
        """
        if self.shape is not None and images.shape[1] != self.shape[0]:
            raise UserError(f"images have {counted(images.shape[1], 'channel')}, but the model has {self.shape[0]}")
        if self.sees_masks and self.shape != images.shape[1:]:
            raise UserError(f"a mask-conditional model restores images of its training size {self.shape} only")
        cond = self.condition(len(images), label, images.device) if image is None else {"image": image}
        if self.network is not None or self.shape is None or self.shape == images.shape[1:]:
            return self.bind(cond)
        return Tiled(self.bind, cond, *self.shape[1:], progress=progress)

    def condition(self, n: int, label: Tensor | None, device: torch.device) -> Condition:
        """The condition of `n` images with labels int64 [n], or the null condition."""
        if label is None:
            return self.conditioning.null(n, device)
        return self.conditioning.requested(n, {"label": label}, torch.arange(n), device)

    def check_denoises(self, corruption: Corruption | None = None) -> None:
        """Raises UserError for a network that was trained to invert an operator, or to remove something else than noise
        and than `corruption`."""
        if self.operator is not None and not isinstance(self.operator, Identity) and self.network is not None:
            raise UserError(f"the network was trained for the operator {self.operator}; use restore")
        trained = self.corruption if self.network is not None else None
        if trained is not None and trained.noise == "none" and not (corruption and trained.covers(corruption)):
            raise UserError(f"the network was trained for {trained} without noise; use restore")

    def operator_of(self, degradation: Operator | Corruption | None) -> Operator:
        """The operator that describes a degradation. Raises UserError for others than linear ones and those of the
        training."""
        trained, removed = self.operator, self.corruption
        if isinstance(degradation, Operator):
            return degradation
        if degradation is None:
            if trained is None:
                raise UserError("an operator is required: the model was not trained to restore images")
            return trained
        if removed is None or not removed.covers(degradation):
            raise UserError(
                f"the model was not trained for {degradation}, and guidance requires a linear operator; train a "
                "network for it, such as recipes/photos/jpeg.yaml with task.corruption, or use denoise for noise"
            )
        return trained or Identity()
