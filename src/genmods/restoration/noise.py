"""The noise level of an image, from the image alone.

The diagonal Haar band (a - b - c + d)/2 of white noise has its standard deviation, and of most images little else, so
the median of its absolute value over 0.6745 estimates it (Donoho and Johnstone 1994). Two things break that: blocks
that are exactly constant (no noise was added there) say nothing; and in an image stored with clipped pixels, half of
the noise on a black or white ground is gone. There the pixels that survived are half-normal, with the same median
over 0.6745.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from genmods.core.devices import to_float64

NORMAL_MAD = 0.6745
ENOUGH = 32


def estimate_sigma(y: Tensor) -> Tensor:
    """The standard deviation [B] of white noise in images `y` [B, C, H, W] on [-1, 1], on that scale.

    Raises ValueError for images of less than 2 x 2 pixels.
    """
    if min(y.shape[-2:]) < 2:
        raise ValueError(f"a noise level cannot be estimated from {y.shape[-2]} x {y.shape[-1]} pixels")
    return torch.stack([_of_one(image) for image in y])


def _of_one(image: Tensor) -> Tensor:
    clipped = _from_clipped_ground(image)
    if clipped is not None:
        return clipped
    corners = (image[:, :-1, :-1], image[:, :-1, 1:], image[:, 1:, :-1], image[:, 1:, 1:])
    a, b, c, d = corners
    band = ((a - b - c + d) / 2).abs()
    stacked = torch.stack(corners)
    flat = stacked.amax(0) == stacked.amin(0)
    saturated = (stacked.abs() >= 1).any(0) & (image.abs().amax() <= 1)
    useful = band[~flat & ~saturated] if (~flat & ~saturated).sum() >= ENOUGH else band[~flat]
    return useful.median() / NORMAL_MAD if useful.numel() else image.new_zeros(())


def _from_clipped_ground(image: Tensor) -> Tensor | None:
    """σ from a ground of black or white whose noise was clipped: where about half of the neighbours are saturated."""
    if image.amax() > 1 or image.amin() < -1:
        return None
    for end in (-1.0, 1.0):
        saturated = image == end
        share = F.avg_pool2d(to_float64(saturated[None]), 5, 1, 2, count_include_pad=False)[0]
        ground = ((share - 0.5).abs() < 0.2).to(image.device) & ~saturated
        if int(ground.sum()) >= max(ENOUGH, int(saturated.sum()) // 2):  # clipping leaves as many as it takes
            return (image[ground] - end).abs().median() / NORMAL_MAD
    return None
