"""The fourteen operations of AutoAugment and its successors, for batches, with a strength per image.

They follow Pillow's operations on 8-bit images (Cubuk et al. 2019), on floats in [0, 1]; geometric operations sample
bilinearly and pad by reflection.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from genmods.data.augmentation.base import broadcast
from genmods.data.augmentation.color import gray
from genmods.data.augmentation.geometry import warp

OPERATIONS = (
    *("identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness", "saturation", "contrast"),
    *("sharpness", "posterize", "solarize", "autocontrast", "equalize"),
)
_FIRST_COLOR = OPERATIONS.index("brightness")


@dataclass(frozen=True)
class Strengths:
    """The effect of strength 1: a slope, a fraction of the side, degrees, |factor - 1|, and the number of bits
    removed."""

    shear: float
    translate: float
    degrees: float
    factor: float
    bits: int


def operate(images: Tensor, operation: Tensor, strength: Tensor, most: Strengths) -> Tensor:
    """`images` [B, C, H, W] in [0, 1] after one operation per image.

    Args:
        images: [B, C, H, W] in [0, 1].
        operation: Index of the operation of each image in `OPERATIONS`, int64 [B].
        strength: Strengths in [-1, 1], [B]; operations without a direction use the magnitude.
        most: The effect of strength 1.
    """
    moved = (operation > 0) & (operation < _FIRST_COLOR)
    matrices = _matrices(operation, strength, most, *images.shape[-2:])
    images = _changed(images, moved, lambda some, rows: warp(some, rows), matrices)
    for k, name in enumerate(OPERATIONS[_FIRST_COLOR:], start=_FIRST_COLOR):
        images = _changed(images, operation == k, _COLORS[name], _setting(name, strength, most))
    return images


def _changed(images: Tensor, chosen: Tensor, change: Callable[[Tensor, Tensor], Tensor], setting: Tensor) -> Tensor:
    """`images` with the `chosen` ones (bool [B]) changed; a GPU computes all of them, to avoid synchronisation."""
    if images.device.type != "cpu":
        return torch.where(broadcast(chosen), change(images, setting), images)
    rows = chosen.nonzero()[:, 0]
    return images.index_copy(0, rows, change(images[rows], setting[rows])) if len(rows) else images


def _setting(name: str, strength: Tensor, most: Strengths) -> Tensor:
    if name == "posterize":
        return 2 ** (strength.abs() * most.bits).round()  # number of grey levels merged into one
    if name == "solarize":
        return 1 - strength.abs()
    return 1 + most.factor * strength


def _matrices(operation: Tensor, strength: Tensor, most: Strengths, height: int, width: int) -> Tensor:
    """The sampling position of each output pixel, [B, 2, 3] in coordinates (x, y) in [-1, 1]."""
    amounts = {
        name: torch.where(operation == OPERATIONS.index(name), strength, 0.0) for name in OPERATIONS[1:_FIRST_COLOR]
    }
    angle = amounts["rotate"] * math.radians(most.degrees)
    cos, sin, ratio = angle.cos(), angle.sin(), height / width
    rows = [
        *(cos, ratio * (most.shear * amounts["shear_x"] - sin), 2 * most.translate * amounts["translate_x"]),
        *((most.shear * amounts["shear_y"] + sin) / ratio, cos, 2 * most.translate * amounts["translate_y"]),
    ]
    return torch.stack(rows, dim=1).view(-1, 2, 3)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """`images` [B, C, H, W] in [0, 1] scaled by `factor` [B]."""
    return (images * broadcast(factor)).clamp(0, 1)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """`images` [B, C, H, W] in [0, 1] scaled by `factor` [B] relative to the mean grey of each image."""
    return torch.lerp(gray(images).mean(dim=(1, 2, 3), keepdim=True), images, broadcast(factor)).clamp(0, 1)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """`images` [B, C, H, W] in [0, 1] scaled by `factor` [B] relative to the grey of each pixel."""
    return torch.lerp(gray(images).expand_as(images), images, broadcast(factor)).clamp(0, 1)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """`images` [B, C, H, W] in [0, 1] scaled by `factor` [B] relative to a 3 x 3 blur; the border is not changed."""
    channels, height, width = images.shape[1:]
    if min(height, width) < 3:
        return images
    kernel = images.new_ones(3, 3)
    kernel[1, 1] = 5
    blurred = images.clone()
    blurred[..., 1:-1, 1:-1] = F.conv2d(images, (kernel / 13).expand(channels, 1, 3, 3), groups=channels)
    return torch.lerp(blurred, images, broadcast(factor)).clamp(0, 1)


def posterize(images: Tensor, step: Tensor) -> Tensor:
    """`images` [B, C, H, W] in [0, 1] with their 256 levels rounded down to multiples of `step` [B]."""
    return (images * 255).round().div(broadcast(step)).floor().mul(broadcast(step)) / 255


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """`images` [B, C, H, W] in [0, 1], with values of at least `threshold` [B] inverted."""
    return torch.where(images < broadcast(threshold), images, 1 - images)


def autocontrast(images: Tensor, _: Tensor) -> Tensor:
    """`images` [B, C, H, W] with each channel stretched to [0, 1]; constant channels are not changed."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    flat = high == low
    return ((images - torch.where(flat, 0, low)) / torch.where(flat, 1, high - low)).clamp(0, 1)


def equalize(images: Tensor, _: Tensor) -> Tensor:
    """`images` [B, C, H, W] in [0, 1] with the histogram of each channel equalised, by Pillow's table of 256 levels."""
    values = (images * 255).round().long().flatten(2)
    counts = values.new_zeros(*values.shape[:2], 256).scatter_add_(2, values, torch.ones_like(values))
    last = counts.gather(2, values.amax(2, keepdim=True))
    step = (values.shape[2] - last).div(255, rounding_mode="floor")
    table = (counts.cumsum(2) - counts + step // 2).div(step.clamp_min(1), rounding_mode="floor").clamp_(0, 255)
    equal = table.gather(2, values).view_as(images).to(images) / 255
    return torch.where(step[..., None] == 0, images, equal)


_COLORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "brightness": brightness,
    "saturation": saturation,
    "contrast": contrast,
    "sharpness": sharpness,
    "posterize": posterize,
    "solarize": solarize,
    "autocontrast": autocontrast,
    "equalize": equalize,
}
