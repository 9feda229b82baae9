"""PSNR and SSIM of restored images, over the whole image or a region.

Images are on [-1, 1], so the data range is 2 and PSNR = 10 log10(4 / MSE). SSIM (Wang et al. 2004) with a window of 11
pixels, mirrored at the border of the image, is averaged over the pixels of the region. Papers and scikit-image exclude
the 5 pixels at the border, where small images score higher: by 0.02 to 0.07 for 28 x 28 pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

RANGE = 2.0


def _region(images: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return torch.ones_like(images)
    weight = mask.to(images).expand_as(images)
    if not bool((weight.flatten(1).sum(dim=1) > 0).all()):
        raise ValueError("the mask must mark at least one pixel of each image")
    return weight


def psnr(restored: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """PSNR in dB [B] of images [B, C, H, W] in [-1, 1] over the pixels where `mask` [B or 1, 1 or C, H, W] is 1.

    Raises ValueError for an empty region. The error is at least 1e-10 of the squared data range, so that equal images
    have 100 dB and a mean over images is finite.
    """
    weight = _region(truth, mask)
    error = ((restored - truth).square() * weight).flatten(1).sum(dim=1) / weight.flatten(1).sum(dim=1)
    return 10 * torch.log10(RANGE**2 / error.clamp_min(1e-10 * RANGE**2))


def ssim(restored: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """SSIM [B] of images [B, C, H, W] in [-1, 1], averaged over the pixels where `mask` [B or 1, 1 or C, H, W] is 1.

    Computed without autocast, since variances are small differences, which bfloat16 cannot represent. Raises ValueError
    for an empty region.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    weight = _region(truth, mask)
    with torch.autocast(truth.device.type, enabled=False):
        full = structural_similarity_index_measure(
            restored, truth, data_range=RANGE, reduction="none", return_full_image=True
        )[1]
    return (full * weight).flatten(1).sum(dim=1) / weight.flatten(1).sum(dim=1)
