"""Denoising for a known corruption, whose noise is not white.

Signal-dependent noise is whitened by its standard deviation at a first estimate and treated as a measurement of a
diagonal operator, if that is well conditioned. Salt-and-pepper noise is detected and inpainted.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from genmods.restoration.corruption import Corruption, SaltAndPepper
from genmods.restoration.denoising import posterior_mean
from genmods.restoration.operators import Diagonal, Mask
from genmods.restoration.prior import Prior
from genmods.restoration.restore import check_images, restore

MAX_NOISE_RATIO = 10.0
"""The largest ratio of the noise of white pixels to that of black ones for which the noise is whitened."""


def impulses(y: Tensor) -> Tensor:
    """The pixels [B, 1, H, W] of images `y` [B, C, H, W] that are salt or pepper: at an end of the range and far from
    the median of their neighbourhood."""
    around = F.unfold(F.pad(y, (1, 1, 1, 1), mode="replicate").flatten(0, 1)[:, None], 3)
    median = around.median(1).values.view_as(y)
    return ((y.abs() >= 1) & ((y - median).abs() > 0.4)).all(1, keepdim=True)


def corruption_level(y: Tensor, model: Any, corruption: Corruption, label: Tensor | None = None) -> Tensor:
    """The root mean square [B] of the noise of a corruption in `y` [B, C, H, W], at a first estimate of the images."""

    def level(x: Tensor) -> Tensor:
        return corruption.std(x).square().flatten(1).mean(1).sqrt()

    prior = Prior.of(model)
    return level(posterior_mean(prior.typed(y), prior, level(y.clamp(-1, 1)), label))


@torch.no_grad()
def denoise_corruption(
    y: Tensor,
    model: Any,
    corruption: Corruption,
    samples: int = 8,
    steps: int = 20,
    seed: int = 0,
    label: Tensor | None = None,
    numbers: Tensor | None = None,
    batch_size: int = 64,
) -> Tensor:
    """Removes noise of a known corruption.

    Impulse noise is inpainted, and noise whose level varies between pixels is whitened, by K = `samples` draws. Noise
    with one level per image is removed by one call, K = 1. So is noise that is more than `MAX_NOISE_RATIO` times as
    strong in white pixels as in black ones, such as speckle, with its root mean square as the level: the few steps of
    the solver would not resolve it if it were whitened.

    Args:
        y: Noisy images [B, C, H, W]; clean images are in [-1, 1].
        model: A trained diffusion model, or any `Denoise`.
        corruption: The corruption, with its strength.
        samples: Draws per image, if the estimate is their mean.
        steps: Network calls per draw.
        seed, label, numbers, batch_size: See `restore`.

    Returns:
        Images [K, B, C, H, W] in [-1, 1], whose mean over K is the estimate.
    """
    check_images(y)
    prior = Prior.of(model)
    y = prior.typed(y)
    settings: dict[str, Any] = {"samples": samples, "steps": steps, "seed": seed}
    settings |= {"label": label, "numbers": numbers, "batch_size": batch_size}
    if isinstance(corruption, SaltAndPepper):
        known = ~impulses(y)
        return restore(y * known, Mask(known), model, **settings)
    estimate = posterior_mean(y, prior, corruption_level(y, prior, corruption, label), label)
    std = corruption.std(estimate)
    black, white = (corruption.std(torch.full_like(y[:1], value)).mean() for value in (-1.0, 1.0))
    if not 1.01 < white / black < MAX_NOISE_RATIO:
        return estimate[None]
    return restore(y / std, Diagonal(1 / std), model, sigma_y=1.0, **settings)
