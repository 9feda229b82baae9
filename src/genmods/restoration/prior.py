"""A diffusion model for restoration: a process, and a denoiser for images of any size under a label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genmods.core.errors import UserError
from genmods.diffusion.denoiser import Condition, Denoise
from genmods.diffusion.process import NoiseProcess
from genmods.restoration.tiles import Tiled


@dataclass(frozen=True)
class Prior:
    """`bind(cond)` is the denoiser under a condition; `shape` [C, H, W] that of the training images, if known.

    `classes` is the number of labels (0: none); `sees_masks` says that the network was trained with masks as a
    condition; `dtype` is the type of its weights, None where any will do.
    """

    process: NoiseProcess
    bind: Callable[[Condition], Denoise]
    shape: tuple[int, int, int] | None = None
    classes: int = 0
    sees_masks: bool = False
    dtype: torch.dtype | None = None

    @classmethod
    def of(cls, model: Any) -> Prior:
        """From a denoiser, or from a trained diffusion task; raises UserError for anything else."""
        if isinstance(model, Prior):
            return model
        if isinstance(model, Denoise) and not hasattr(model, "codec"):
            return cls(model.process, lambda cond: model)
        if not hasattr(model, "denoiser"):
            raise UserError(f"restoration needs a diffusion model, and this is a {type(model).__name__}")
        if model.codec is not None:
            raise UserError("restoration works on pixels, and this model diffuses the latents of an autoencoder")
        classes = model.num_classes if model.conditioning == "class" else 0
        shape, sees_masks = tuple(model.image_shape), model.conditioning == "mask"
        return cls(model.denoiser.process, model.denoise, shape, classes, sees_masks, getattr(model, "dtype", None))

    def typed(self, y: Tensor) -> Tensor:
        """`y` in the type of the model."""
        return y if self.dtype is None else y.to(self.dtype)

    def denoise(self, images: Tensor, label: Tensor | None = None, known: Tensor | None = None) -> Denoise:
        """The denoiser for images shaped as `images` [B, C, H, W], with labels int64 [B] (-1: none); by tiles for other
        sizes.

        `known` [B, 1 + C, H, W] is the mask (1 = known) and the image under it, for a model that sees masks. Raises
        UserError for a label that the model does not have, and for images of other channels.
        """
        wrong = [] if label is None else label[(label < -1) | (label >= self.classes)].tolist()
        if wrong:
            raise UserError(f"label {wrong[0]}: the model has {self.classes or 'no'} classes, counted from 0")
        if self.shape is not None and images.shape[1] != self.shape[0]:
            raise UserError(f"images of {images.shape[1]} channels, and a model of {self.shape[0]}")
        if self.sees_masks:
            if self.shape != images.shape[1:]:
                raise UserError(f"a model that sees masks restores images of its own size, {self.shape}, only")
            return self.bind({"image": _nothing_known(images) if known is None else known})
        label = torch.full_like(images[:, 0, 0, 0], -1, dtype=torch.int64) if label is None else label

        def bind(times: int) -> Denoise:
            return self.bind({"label": label.repeat(times)} if self.classes else {})

        if self.shape is None or self.shape == images.shape[1:]:
            return bind(1)
        return Tiled(bind, *self.shape[1:])


def _nothing_known(images: Tensor) -> Tensor:
    return images.new_zeros(len(images), 1 + images.shape[1], *images.shape[2:])
