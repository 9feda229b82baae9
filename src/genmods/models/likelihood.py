"""Likelihoods of images in bits per dimension: the protocol, and the likelihood of a diffusion model of pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from genmods.core.image_range import check_images
from genmods.diffusion.denoiser import Denoise
from genmods.diffusion.likelihood import BoundTerms, bound_bits_per_dim, bound_map, flow_bits_per_dim

FLOW_STEPS = 32
"""Runge-Kutta steps of the probability flow."""


class Likelihood(Protocol):
    """Bits per dimension [B] of `images` [B, C, H, W] in [-1, 1] with indices `indices` (int64 [B]).

    The result is on the device of the model. The noise for image i depends on its index, not on the batch.
    """

    def bound(self, images: Tensor, indices: Tensor | None = None) -> Tensor:
        """An upper bound, such as the negative ELBO: bits per dimension [B] of images [B, C, H, W] in [-1, 1]."""
        ...

    def flow(self, images: Tensor, indices: Tensor | None = None) -> Tensor:
        """The exact likelihood of a flow, [B]; raises UserError if the model has none."""
        ...


@dataclass(frozen=True)
class DiffusionLikelihood:
    """The unconditional `Likelihood` of a diffusion model.

    Args:
        denoise: Maps a number of images to an unconditional denoiser for a batch of that size.
        levels: Number of grey levels of the data.
        device: Device of the model.
    """

    denoise: Callable[[int], Denoise]
    levels: int
    device: torch.device

    def terms(self, images: Tensor, indices: Tensor | None = None, num_times: int = 16) -> BoundTerms:
        """The variational bound and its terms, [B] each, differentiable; see `genmods.diffusion.bound_bits_per_dim`."""
        images, indices = self._placed(images, indices)
        return bound_bits_per_dim(self.denoise(len(images)), images, self.levels, num_times, indices=indices)

    def bound(self, images: Tensor, indices: Tensor | None = None) -> Tensor:
        return self.terms(images, indices).total

    def map(self, images: Tensor, indices: Tensor | None = None, num_times: int = 64) -> Tensor:
        """The bits of each pixel [B, C, H, W], whose mean is the bound; see `genmods.diffusion.bound_map`."""
        images, indices = self._placed(images, indices)
        return bound_map(self.denoise(len(images)), images, self.levels, num_times, indices=indices)

    def flow(self, images: Tensor, indices: Tensor | None = None) -> Tensor:
        """Bits per dimension [B] by the probability flow ODE; see `genmods.diffusion.flow_bits_per_dim`."""
        images, indices = self._placed(images, indices)
        return flow_bits_per_dim(self.denoise(len(images)), images, self.levels, steps=FLOW_STEPS, indices=indices)

    def _placed(self, images: Tensor, indices: Tensor | None) -> tuple[Tensor, Tensor | None]:
        check_images(images, tuple("CHW"))
        return images.to(self.device), None if indices is None else indices.to(self.device)
