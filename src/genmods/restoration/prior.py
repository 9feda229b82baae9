"""A diffusion model for restoration: a denoiser for images of any size under a label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from genmods.core.errors import UserError
from genmods.diffusion.conditioning import Conditioning, Unconditional
from genmods.diffusion.denoiser import Condition, Denoise
from genmods.diffusion.processes.variance_exploding import EDMProcess
from genmods.models import Denoises, Model, Restores
from genmods.restoration.tiles import Tiled


@dataclass(frozen=True)
class Prior:
    """`bind(cond)` is the denoiser under a condition; `shape` [C, H, W] that of the training images, if known.

    `conditioning` is what the model is conditioned on; `dtype` is the type of its weights, None where any will do.
    `network` is set for a model that was trained to restore: it is called once instead, and `bind` is there where it
    also is a diffusion denoiser.
    """

    bind: Callable[[Condition], Denoise]
    shape: tuple[int, int, int] | None = None
    conditioning: Conditioning = field(default_factory=Unconditional)
    dtype: torch.dtype | None = None
    network: Restores | None = None

    @classmethod
    def of(cls, model: Any) -> Prior:
        """From a denoiser, or from a trained diffusion task; raises UserError for anything else."""
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
            raise UserError("restoration works on pixels, and this model diffuses the latents of an autoencoder")
        shape, conditioning = diffusion.image_shape, diffusion.conditioning
        return cls(diffusion.denoise, shape, conditioning, diffusion.dtype)

    @property
    def sees_masks(self) -> bool:
        """Whether the model is given the known pixels as its condition."""
        return self.conditioning.reveals_image

    def typed(self, y: Tensor) -> Tensor:
        """`y` in the type of the model."""
        return y if self.dtype is None else y.to(self.dtype)

    def denoise(self, images: Tensor, label: Tensor | None = None, known: Tensor | None = None) -> Denoise:
        """The denoiser for images shaped as `images` [B, C, H, W], with labels int64 [B] (-1: none); by tiles for other
        sizes.

        `known` [B, 1 + C, H, W] is the mask (1 = known) and the image under it, for a model that sees masks. Raises
        UserError for a label that the model does not have, and for images of other channels.
        """
        if self.shape is not None and images.shape[1] != self.shape[0]:
            raise UserError(f"images of {images.shape[1]} channels, and a model of {self.shape[0]}")
        if self.sees_masks and self.shape != images.shape[1:]:
            raise UserError(f"a model that sees masks restores images of its own size, {self.shape}, only")
        if self.sees_masks and known is not None:
            return self.bind({"image": known})
        cond = self.condition(len(images), label, images.device)

        def bind(times: int) -> Denoise:
            return self.bind({name: torch.cat([value] * times) for name, value in cond.items()})

        if self.network is not None or self.shape is None or self.shape == images.shape[1:]:
            return bind(1)
        return Tiled(bind, *self.shape[1:])

    def condition(self, n: int, label: Tensor | None, device: torch.device) -> Condition:
        """The condition of `n` images with labels int64 [n], or about which nothing is known."""
        if label is None:
            return self.conditioning.null(n, device)
        return self.conditioning.requested(n, {"label": label}, torch.arange(n), device)
