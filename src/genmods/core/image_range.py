"""Images of another range or shape than a model takes, or with NaN, refused before they are computed with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from genmods.core.errors import UserError
from genmods.core.printable import counted

MAX_ABS_INPUT = 16.0
"""The largest magnitude accepted for images in [-1, 1] with noise."""


def check_images(images: Any, shape: Sequence[int | str], noisy: bool = False, finite: bool = True) -> None:
    """Raises UserError unless `images` are a float tensor [B, *shape], e.g. for images in [0, 255].

    Args:
        images: The images.
        shape: Sizes; a letter for any size.
        noisy: Whether any magnitude is accepted if some values are negative, as for images with much noise.
        finite: Whether NaN and infinities are refused; in training the loss is not finite either, which is reported
            with step and samples.

    The range is checked on a CPU only, where reading a value does not wait for the device.
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
    if not (math.isfinite(low) and math.isfinite(high)):  # also for a NaN anywhere
        if finite:
            check_finite(images)
        return
    largest = high if high > -low else low
    if abs(largest) > MAX_ABS_INPUT and (low >= 0 or not noisy):
        raise UserError(f"images must lie in [-1, 1], got the value {largest:.4g}")


def check_finite(values: Tensor, name: str = "images") -> None:
    """Raises UserError, with the first image and how many of its values, unless all `values` [B, ...] are finite."""
    if bool(values.isfinite().all()):
        return
    counts = (~values.isfinite()).flatten(1).sum(1)
    (wrong,) = counts.nonzero(as_tuple=True)
    first = int(wrong[0])
    more = f"; {len(wrong)} of {counted(len(values), 'image')} have some" if len(wrong) > 1 else ""
    found = counted(int(counts[first]), "NaN or infinite value")
    raise UserError(f"{name} must be finite, got {found} in {name}[{first}]{more}")


def _described(images: Any) -> str:
    if not isinstance(images, Tensor):
        return type(images).__name__
    return f"{str(images.dtype).removeprefix('torch.')} {list(images.shape)}"
