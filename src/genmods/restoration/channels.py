"""Images with another number of channels than the model.

A grey model restores each channel of a colour image with the same noise, so that grey stays grey; for a colour model, a
grey image is repeated in three channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """A batch in the channels of a model.

    Attributes:
        y: Images [R, C, H, W].
        numbers: The number of the image of each row, int64 [R].
        label: Classes int64 [R], or None.
        each: The number of rows per image.
        back: The inverse map, for results [..., R, C, H, W].
    """

    y: Tensor
    numbers: Tensor
    label: Tensor | None
    each: int
    back: Callable[[Tensor], Tensor]


def in_channels(images: Tensor, channels: int, numbers: Tensor, label: Tensor | None) -> Rows:
    """Images [B, C, H, W] in `channels` channels, with their numbers and classes int64 [B]."""
    have = images.shape[1]
    if have == channels:
        return Rows(images, numbers, label, 1, lambda x: x)
    if channels != 1:
        wide = images.expand(-1, channels, -1, -1) if have == 1 else images
        return Rows(wide, numbers, label, 1, lambda x: x.mean(-3, keepdim=True))
    label = None if label is None else label.repeat_interleave(have)
    flat, numbers = images.flatten(0, 1)[:, None], numbers.repeat_interleave(have)
    return Rows(flat, numbers, label, have, lambda x: x.unflatten(-4, (-1, have)).squeeze(-3))
