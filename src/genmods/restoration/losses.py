"""What a network is trained to restore images by: with the clean image, or with noisy ones alone.

A loss is called with `restore`, the map from measured images to restored ones, and what there is to compare with. All
numbers are per pixel and on the scale of [-1, 1].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Gt, Lt
from torch import Tensor

from genmods.core import random
from genmods.core.settings import Count, Positive, Validated

Restore = Callable[[Tensor], Tensor]
PenaltyName = Literal["l1", "l2", "charbonnier"]

_PROBE, _SPLIT, _SPOTS, _NEIGHBOURS = 21, 22, 23, 24  # streams


@dataclass(frozen=True)
class Example:
    """A batch to learn from.

    Args:
        measured: What the network is given, [B, C, H, W].
        keys: Randomness of the loss, int64 [B].
        clean: The clean images [B, C, H, W], where they are known.
        again: A second measurement [B, C, H, W] of the same images with independent noise, where there is one.
        std: The standard deviation of the noise at each pixel [B, C, H, W], where it is known.
    """

    measured: Tensor
    keys: Tensor
    clean: Tensor | None = None
    again: Tensor | None = None
    std: Tensor | None = None


def penalty(name: PenaltyName, error: Tensor) -> Tensor:
    """The mean penalty per sample [B] of `error` [B, ...]: |e|, e², or Charbonnier's √(e² + ε²), ε = 1e-3."""
    if name == "l1":
        values = error.abs()
    elif name == "l2":
        values = error.square()
    else:
        values = (error.square() + 1e-6).sqrt()
    return values.flatten(1).mean(1)


class RestorationLoss(Validated, ABC):
    """The loss of a network that restores images: the registry kind `restoration_loss`."""

    needs: tuple[Literal["clean", "again", "std"], ...] = ()
    """Which members of an `Example` have to be known."""

    @abstractmethod
    def __call__(self, restore: Restore, example: Example) -> Tensor:
        """The loss per sample [B]; `restore` maps measured images [B, C, H, W] to restored ones."""


@dataclass
class Supervised(RestorationLoss):
    """The `penalty` of the difference from the clean image: l1, l2 (least mean squared error), or charbonnier."""

    needs = ("clean",)
    penalty: PenaltyName = "l1"

    def __call__(self, restore: Restore, example: Example) -> Tensor:
        assert example.clean is not None
        return penalty(self.penalty, restore(example.measured) - example.clean)


@dataclass
class Noise2Noise(RestorationLoss):
    """The `penalty` of the difference from a second noisy image (Lehtinen et al., 2018).

    Noise of mean zero adds a constant to the expected squared error, so that its minimum is that of the clean target;
    l1 leads to the median in place of the mean.
    """

    needs = ("again",)
    penalty: PenaltyName = "l2"

    def __call__(self, restore: Restore, example: Example) -> Tensor:
        assert example.again is not None
        return penalty(self.penalty, restore(example.measured) - example.again)


@dataclass
class SURE(RestorationLoss):
    """Stein's unbiased estimate of the mean squared error for independent normal noise (Stein 1981).

    ‖f(y) − y‖² − Σ σ² + 2 Σ σ² ∂f/∂y, with the divergence probed in one random direction b:
    b·(f(y + δ b) − f(y))/δ (Ramani, Blu and Unser, 2008). `delta` is in units of σ.
    """

    needs = ("std",)
    delta: Positive = 0.05

    def __call__(self, restore: Restore, example: Example) -> Tensor:
        assert example.std is not None
        y, std = example.measured, example.std
        probe = random.normal(random.fold(example.keys, _PROBE), y[0].numel()).view(y.shape).to(y)
        step = self.delta * std.flatten(1).mean(1).clamp_min(1e-3).view(-1, 1, 1, 1)
        first, second = restore(torch.cat([y, y + step * probe])).chunk(2)
        divergence = std.square() * probe * (second - first) / step
        return ((first - y).square() - std.square() + 2 * divergence).flatten(1).mean(1)


@dataclass
class Recorrupted(RestorationLoss):
    """Recorrupted-to-recorrupted (Pang et al., 2021), for independent normal noise of known standard deviation.

    With z standard normal, y + τ z and y − (σ²/τ) z have independent noise, so that the second is the target of the
    first as in `Noise2Noise`. `tau` is in units of σ: the network is trained at noise √(1 + τ²) times as strong.
    """

    needs = ("std",)
    tau: Positive = 0.5

    def __call__(self, restore: Restore, example: Example) -> Tensor:
        assert example.std is not None
        y, std = example.measured, example.std
        z = random.normal(random.fold(example.keys, _SPLIT), y[0].numel()).view(y.shape).to(y)
        return penalty("l2", restore(y + self.tau * std * z) - (y - std / self.tau * z))


@dataclass
class Noise2Void(RestorationLoss):
    """Predicts pixels from their neighbours alone (Krull et al., 2019): the noise need not be known, only independent
    from pixel to pixel.

    A `fraction` of the pixels is replaced by a random neighbour within `radius`, and the squared error at those is the
    loss. All channels of a pixel are replaced together.
    """

    fraction: Annotated[float, Gt(0), Lt(1)] = 0.02
    radius: Count = 2

    def __call__(self, restore: Restore, example: Example) -> Tensor:
        y = example.measured
        pixels = y.shape[2] * y.shape[3]
        u = random.uniform(random.fold(example.keys, _SPOTS), pixels).view(len(y), 1, *y.shape[2:]).to(y.device)
        spots = (u < self.fraction).to(y)
        error = (restore(torch.where(spots > 0, self._neighbour(y, example.keys), y)) - y).square() * spots
        return error.flatten(1).sum(1) / (spots.flatten(1).sum(1).clamp_min(1) * y.shape[1])

    def _neighbour(self, y: Tensor, keys: Tensor) -> Tensor:
        """Each pixel of `y` [B, C, H, W] replaced by another one of the square of 2 radius + 1 around it, mirrored at
        the border."""
        side = 2 * self.radius + 1
        height, width = y.shape[2:]
        u = random.uniform(random.fold(keys, _NEIGHBOURS), height * width).view(len(y), height, width).to(y.device)
        choice = (u * (side**2 - 1)).long()
        choice = choice + (choice >= side**2 // 2)  # the centre is left out
        rows = torch.arange(height, device=y.device)[:, None] + choice // side - self.radius
        columns = torch.arange(width, device=y.device) + choice % side - self.radius
        rows, columns = _mirrored(rows, height), _mirrored(columns, width)
        index = (rows * width + columns).flatten(1)[:, None].expand(-1, y.shape[1], -1)
        return y.flatten(2).gather(2, index).view_as(y)


def _mirrored(index: Tensor, size: int) -> Tensor:
    """Whole numbers as indices into `size` >= 2 pixels that are mirrored at both ends, the end not repeated."""
    period = 2 * (size - 1)
    return (index % period - (size - 1)).abs().neg() + (size - 1)
