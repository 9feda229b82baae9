"""Noisy images at a coarser scale, as pairs from which a denoiser learns faster than from the noisy images themselves.

The noise of a target slows training down. The mean of factor × factor pixels has 1/factor of their noise; with noise
added up to the original level it is an input, for which it is itself a nearly clean target. Photographs look alike at
neighbouring scales, so that little is left to learn at the original one.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor

from genmods.core import random
from genmods.restoration.losses import Example

_NOISE = 25  # random stream


def coarse_pair(example: Example, factor: int) -> Example:
    """Images reduced by `factor`, measured twice: with noise of the original level, and with little of it.

    Both noises are independent, as in `Recorrupted` (Pang et al. 2021): for m, the reduced mean of k = n factor² pixels
    of n measurements with white Gaussian noise of variance σ², and d, noise of variance σ² that is independent of m,
    they are those of

        measured = m + √(1 - 1/k) d, with variance σ², and again = m - √(1 - 1/k) d / (k - 1), with variance σ²/(k - 1).

    With a second measurement, d is every `factor`-th pixel of the difference of both over √2, which has the law of the
    noise where it is not Gaussian, too. Otherwise it is drawn with the standard deviation `std`.

    Args:
        example: Its `measured` [B, C, H, W], and `again` or `std`, for noise that is independent between pixels.
        factor: At least 2 and at most H and W.

    Returns:
        An `Example` with `measured` and `again` [B, C, H // factor, W // factor], and `std` if it is known.

    Raises:
        ValueError: If neither `again` nor `std` is known.
    """
    y, again = example.measured, example.again
    std = None if example.std is None else _thinned(example.std, factor)
    if again is None:
        mean, count = F.avg_pool2d(y, factor), factor**2
        std = _thinned(example.known("std"), factor)
        noise = std * random.normal(random.fold(example.keys, _NOISE), mean[0].numel()).view(mean.shape).to(mean)
    else:
        mean, count = F.avg_pool2d((y + again) / 2, factor), 2 * factor**2
        noise = _thinned(y - again, factor) / math.sqrt(2)
    noise = math.sqrt(1 - 1 / count) * noise
    return replace(example, measured=mean + noise, clean=None, again=mean - noise / (count - 1), std=std)


def _thinned(images: Tensor, factor: int) -> Tensor:
    """The upper left pixel [B, C, H // factor, W // factor] of each block of `images` [B, C, H, W]."""
    height, width = (side // factor * factor for side in images.shape[2:])
    return images[:, :, :height:factor, :width:factor]
