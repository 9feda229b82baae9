"""Diagonal operators: y = w ⊙ x. A mask (w in {0, 1}) is the operator of inpainting.

A Aᵀ = diag(w²). Weights 1/σ turn pixels with different noise levels σ into measurements with unit noise.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Lt
from torch import Tensor

from genmods.core import random
from genmods.core.settings import Fraction, Seed
from genmods.restoration.operators.base import Operator, Spectrum, once_a_size


class Diagonal(Operator):
    """Multiplies each pixel by a weight.

    Args:
        weight: [H, W], [C, H, W], [B, C, H, W], or any shape that broadcasts to it; with B > 1, one per image.
    """

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight

    def weight(self, like: Tensor) -> Tensor:
        """The weights for `like` [B, C, H, W]. Raises ValueError if the sizes differ."""
        if self._weight.shape[-2:] != like.shape[-2:] and self._weight.numel() > 1:
            mask, image = ("x".join(map(str, t.shape[-2:])) for t in (self._weight, like))
            raise ValueError(f"the mask must have the size of the image, {image} pixels (height x width), got {mask}")
        return self._weight.to(like)

    def forward(self, x: Tensor) -> Tensor:
        return self.weight(x) * x

    def adjoint(self, y: Tensor) -> Tensor:
        return self.forward(y)

    def spectral(self, y: Tensor, f: Spectrum) -> Tensor:
        return f(self.weight(y) ** 2) * y

    def rows(self, indices: Tensor) -> Operator:
        each = self._weight.ndim == 4 and len(self._weight) > 1
        return type(self)(self._weight[indices]) if each else self


@dataclass
class Identity(Operator):
    """y = x, the operator of denoising."""

    def forward(self, x: Tensor) -> Tensor:
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        return self.forward(y)

    def spectral(self, y: Tensor, f: Spectrum) -> Tensor:
        return f(y.new_ones(())) * y


class Mask(Diagonal):
    """Keeps the known pixels and sets the others to 0.

    Args:
        known: True or 1 for known pixels, false or 0 for others; of a shape that `Diagonal` accepts.
    """

    def __init__(self, known: Tensor) -> None:
        if not ((known == 0) | (known == 1)).all():
            raise ValueError("known must be true or false, 1 or 0, at each pixel")
        super().__init__(known)

    def known(self, like: Tensor) -> Tensor:
        """The known pixels, bool, broadcastable to `like` [B, C, H, W]."""
        return self.weight(like) > 0

    def clean(self, y: Tensor) -> Tensor:
        return torch.where(self.known(y), y, 0)

    def restore_known(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.where(self.known(y), y, x)


class ShapedMask(Mask):
    """A mask with a shape that depends on the size of the image."""

    @once_a_size
    def weight(self, like: Tensor) -> Tensor:
        height, width = like.shape[-2:]
        return (~self.hole(height, width)).to(like)

    def rows(self, indices: Tensor) -> Operator:
        return self

    @abstractmethod
    def hole(self, height: int, width: int) -> Tensor:
        """The unknown pixels, bool [height, width]."""


@dataclass
class BoxMask(ShapedMask):
    """A rectangular hole with its upper left corner at column `x`, row `y`; by default the centre, half of each
    side."""

    x: Annotated[int, Ge(0)] | None = None
    y: Annotated[int, Ge(0)] | None = None
    width: Annotated[int, Ge(1)] | None = None
    height: Annotated[int, Ge(1)] | None = None

    def hole(self, height: int, width: int) -> Tensor:
        w = width // 2 if self.width is None else self.width
        h = height // 2 if self.height is None else self.height
        x = (width - w) // 2 if self.x is None else self.x
        y = (height - h) // 2 if self.y is None else self.y
        if min(x, y) < 0 or min(w, h) < 1 or x + w > width or y + h > height:
            raise ValueError(
                f"box must fit into the image, {width} wide and {height} high, got {x},{y},{w},{h} (x,y,width,height)"
            )
        hole = torch.zeros(height, width, dtype=torch.bool)
        hole[y : y + h, x : x + w] = True
        return hole


@dataclass
class HalfMask(ShapedMask):
    """A hole of one half of the image, at `side`."""

    side: Literal["left", "right", "top", "bottom"] = "right"

    def hole(self, height: int, width: int) -> Tensor:
        rows, columns = torch.arange(height)[:, None], torch.arange(width)[None, :]
        inside = {
            "left": columns < width // 2,
            "right": columns >= width - width // 2,
            "top": rows < height // 2,
            "bottom": rows >= height - height // 2,
        }
        return inside[self.side].expand(height, width)


@dataclass
class StripeMask(ShapedMask):
    """A hole of horizontal stripes: the last `width` rows of every `period`."""

    period: Annotated[int, Ge(2)] = 4
    width: Annotated[int, Ge(1), Lt("period")] = 2

    def hole(self, height: int, width: int) -> Tensor:
        rows = torch.arange(height)[:, None] % self.period >= self.period - self.width
        return rows.expand(height, width)


@dataclass
class RandomMask(ShapedMask):
    """A hole of random pixels, each with probability `fraction`; depends on `seed` and the image size only."""

    fraction: Fraction = 0.5
    seed: Seed = 0

    def hole(self, height: int, width: int) -> Tensor:
        key = random.fold(self.seed).view(1)
        return random.uniform(key, height * width).view(height, width) < self.fraction
