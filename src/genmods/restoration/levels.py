"""Noise levels of images as users give them: one number, one per image or channel, an estimate, or "auto"."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from genmods.core.errors import UserError
from genmods.restoration.channels import Rows
from genmods.restoration.denoising import estimate_noise
from genmods.restoration.noise_curve import NoiseCurve, noise_curve
from genmods.restoration.prior import Prior

Sigma = float | Tensor | Literal["auto"]
"""Standard deviation of the noise on the scale of [-1, 1]: one value, one per image [B], or "auto" to estimate it.

The estimate of `noise_curve` is at least that of the wavelets. Only `Restorer.denoise` with a diffusion model removes
less than it finds (`removable_noise`): in `inpaint` and `restore` the level is that of a measurement, which weighs the
measurement against the model.
"""


def is_auto(sigma: Sigma | NoiseCurve) -> bool:
    """Whether a level is to be estimated. Raises UserError for other text."""
    if isinstance(sigma, str) and sigma != "auto":
        raise UserError(f"sigma must be auto or at least 0, got {sigma!r}")
    return isinstance(sigma, str)


def image_levels(images: Tensor, sigma: Sigma, known: Tensor | None = None) -> Tensor:
    """The noise level of each of `images` [B, C, H, W], float64 [B] on the CPU.

    An estimate uses the pixels where `known` (bool, broadcastable to the images) is true, by default all. Raises
    UserError for a level that is not finite or below 0, and for another number of levels.
    """
    if is_auto(sigma):
        return noise_curve(images, known).level.double().cpu()
    levels = torch.as_tensor(sigma, dtype=torch.float64).cpu()
    if levels.shape not in ((), (len(images),)):
        raise UserError(f"sigma must be one number or have shape [{len(images)}], got {list(levels.shape)}")
    if (wrong := levels[~(levels.isfinite() & (levels >= 0))]).numel():
        raise UserError(f"the noise level must be at least 0, got {wrong.flatten()[0].item()}")
    return levels.expand(len(images))


def row_levels(images: Tensor, sigma: Sigma | NoiseCurve, rows: Rows, prior: Prior) -> Tensor | NoiseCurve:
    """The noise of each row of `rows`, which are `images` [B, C, H, W] in the channels of the model `prior`.

    `sigma` may also have one level per row, [B, R/B], or be the estimate of the rows. The result is a level per row
    [R], or such an estimate.
    """
    if is_auto(sigma):
        return estimate_noise(rows.y, prior, rows.label)
    if isinstance(sigma, NoiseCurve):
        return sigma
    if isinstance(sigma, Tensor) and sigma.shape == (len(images), rows.each):
        return sigma.flatten().to(rows.y.device)
    return image_levels(images, sigma).repeat_interleave(rows.each).to(rows.y.device)
