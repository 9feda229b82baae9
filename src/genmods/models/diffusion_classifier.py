"""Classification by a class-conditional diffusion model (Li et al. 2023, Clark and Jaini 2023).

    p(c | x) ∝ p(c) exp(-E(x, c)),    E(x, c) = ½ ∫ ‖ε - ε(x_t, t, c)‖² dλ

For an exact denoiser E(x, c) is -ln p(x | c) up to a term that is the same for all classes (Kong et al. 2023). All
classes share noise levels and noise, since their differences are much smaller than the errors themselves.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genmods.core.errors import UserError
from genmods.core.image_range import check_images
from genmods.core.settings import Count
from genmods.diffusion.likelihood import diffusion_nats
from genmods.models.abilities import Denoises
from genmods.models.base import Model

TOGETHER = 1000
"""The largest number of images times classes per network call."""


class DiffusionClassifier(Model):
    """A classifier of images from a diffusion model that is conditioned on classes, with equal prior probabilities.

    Args:
        model: A diffusion model of pixels with class labels, such as the result of `genmods.load`.
        num_times: Noise levels per image and class, two network calls each.

    Raises:
        UserError: If the model is not a class-conditional diffusion model of pixels.
    """

    predicts = "class"

    def __init__(self, model: Any, num_times: Count = 16) -> None:
        super().__init__()
        if not isinstance(model, Denoises):
            raise UserError(f"classification requires a classifier or a diffusion model, got {type(model).__name__}")
        diffusion = model.diffusion_model()
        if "label" not in diffusion.conditioning.names:
            raise UserError("classification by a diffusion model requires one that is conditioned on classes")
        if not diffusion.latents.is_pixels:
            raise UserError("classification requires a diffusion model of pixels, got one of latents")
        self.diffusion, self.num_times = diffusion, num_times
        self.class_names, self.columns = diffusion.class_names, getattr(model, "columns", Model.columns)
        self.image_shape, self.preparation = diffusion.image_shape, diffusion.preparation

    @torch.no_grad()
    def scores(self, images: Tensor) -> Tensor:
        """-E [B, K], the log-probabilities of `images` [B, C, H, W] in [-1, 1] up to a constant per image."""
        check_images(images, self.image_shape or tuple("CHW"))
        x0 = images.to(self.diffusion.device, self.diffusion.dtype)
        classes = torch.arange(len(self.class_names), device=x0.device)
        parts = [self._scored(x0, some) for some in classes.split(max(1, TOGETHER // max(1, len(x0))))]
        return torch.cat(parts, dim=1)

    def _scored(self, x0: Tensor, classes: Tensor) -> Tensor:
        """-E [B, k] of `x0` [B, C, H, W] for some `classes` [k], which are computed together."""
        rows = x0.repeat_interleave(len(classes), dim=0)
        same = torch.zeros(len(rows), dtype=torch.int64, device=x0.device)  # the noise of all images and classes
        denoise = self.diffusion.denoise({"label": classes.repeat(len(x0))})
        return -diffusion_nats(denoise, rows, self.num_times, same).view(len(x0), len(classes))

    def probabilities(self, images: Tensor) -> Tensor:
        """Class probabilities [B, K] of `images` [B, C, H, W] in [-1, 1]."""
        return self.scores(images).softmax(1).to(images.device, torch.float32)

    def predictions(self, images: Tensor) -> Tensor:
        """Class probabilities [B, K] of `images` [B, C, H, W] in [-1, 1]."""
        return self.probabilities(images)
