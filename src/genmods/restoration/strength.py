"""How much of an estimated noise a diffusion model can remove from an image without loss.

By Stein's lemma, the mean squared error of an estimate f(y) is less than that of y by 2 tr Σ (1 - J) - ‖f(y) - y‖², for
noise of covariance Σ and the Jacobian J of f. A camera and JPEG smooth noise, which then is weakest in the finest
wavelets. With the variance in these, of white noise that is a part of the noise, the expression is a lower bound of the
gain, since J < 1 for a posterior mean. Texture that resembles noise, noise that resembles texture, and a model that is
worse than its noise level all make it small or negative.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genmods.core import random
from genmods.diffusion.denoiser import Denoise, mmse
from genmods.diffusion.process import per_sample
from genmods.restoration.noise_curve import NoiseCurve

RATIO = 0.5**0.5
"""The ratio of successive noise levels."""
TRIED = 8
"""The largest number of noise levels."""
STEP = 0.1
"""The step of the derivative, in units of the noise level."""


def gain(denoiser: Denoise, y: Tensor, sigma: Tensor, variance: Tensor, keys: Tensor) -> Tensor:
    """The lower bound of the decrease of the mean squared error by one call, per pixel and channel.

    Args:
        denoiser: The model.
        y: Noisy images [B, C, H, W].
        sigma: The noise level that the model assumes, [B].
        variance: The variance of white noise in the images, broadcastable to `y`.
        keys: Random keys of the Rademacher vectors along which the derivative is computed, int64 [B].

    Returns:
        The bound [B].
    """
    sign = (random.normal(keys, y[0].numel()) > 0).to(y).view_as(y) * 2 - 1
    step = STEP * per_sample(sigma, y)
    x = mmse(denoiser, y, sigma).clamp(-1, 1)
    derivative = sign * (mmse(denoiser, y + step * sign, sigma).clamp(-1, 1) - x) / step
    return (2 * variance * (1 - derivative) - (x - y).square()).flatten(1).mean(1)


def removable(denoiser: Denoise, y: Tensor, curve: NoiseCurve) -> Tensor:
    """The share [B] of the standard deviation of the noise in `y` [B, C, H, W] that a model removes with the largest
    lower bound of the `gain`: a power of `RATIO`, or 0 if there is no gain.

    The search ends at the first maximum. Unless that is at the whole noise, the share is one step smaller: the bound is
    for noise that is independent of the image, which the rounding of JPEG is not.
    """
    variance = curve.std(y).square() * per_sample(curve.white, y)
    best, share = torch.zeros_like(curve.level), torch.zeros_like(curve.level)
    searching = torch.ones(len(y), dtype=torch.bool, device=y.device)
    keys = torch.zeros(len(y), dtype=torch.int64)  # the result for an image does not depend on the others
    for k in range(TRIED):
        found = gain(denoiser, y, curve.level * RATIO**k, variance, keys)
        better = searching & (found > best)
        searching &= better | (best <= 0)
        best, share = torch.where(better, found, best), torch.where(better, RATIO**k, share)
        if not searching.any():
            break
    return torch.where(share < 1, share * RATIO, share)
