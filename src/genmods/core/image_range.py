"""Images of another range or shape than a model takes, refused before they are computed with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from genmods.core.errors import UserError

MAX_ABS_INPUT = 16.0
"""The largest magnitude accepted for images in [-1, 1] with noise."""


def check_images(images: Any, shape: Sequence[int | str], noisy: bool = False) -> None:
    """Raises UserError unless `images` are a float tensor [B, *shape], e.g. for images in [0, 255].

    Args:
        images: The images.
        shape: Sizes; a letter for any size.
        noisy: Whether any magnitude is accepted if some values are negative, as for images with much noise.

    The range is checked on a CPU only, where reading a value does not wait for the device. With `noisy`, values that
    are not finite are accepted where gradients are enabled: in training the loss is not finite either, which is
    reported with step and samples.
    """
    fits = isinstance(images, Tensor) and images.is_floating_point() and images.ndim == len(shape) + 1
    if not fits or any(
        isinstance(want, int) and have != want for have, want in zip(images.shape[1:], shape, strict=True)
    ):
        wanted = ", ".join(map(str, ("B", *shape)))
        raise UserError(f"images must be float [{wanted}] in [-1, 1], got {_described(images)}")
    if images.device.type != "cpu" or not images.numel() or torch.compiler.is_compiling():
        return
    low, high = (float(value) for value in images.detach().aminmax())
    if noisy and torch.is_grad_enabled() and not (math.isfinite(low) and math.isfinite(high)):
        return
    largest = high if high > -low else low
    if abs(largest) > MAX_ABS_INPUT and (low >= 0 or not noisy):
        raise UserError(f"images must lie in [-1, 1], got the value {largest:.4g}")


def _described(images: Any) -> str:
    if not isinstance(images, Tensor):
        return type(images).__name__
    return f"{str(images.dtype).removeprefix('torch.')} {list(images.shape)}"
