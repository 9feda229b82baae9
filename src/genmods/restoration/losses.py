"""Training losses of restoration networks: with clean images, or with noisy images only.

A loss receives an `Example` and `restore(y, std)`, the map from measured images and the standard deviation of their
noise to restored images. All values are per pixel, on the scale of [-1, 1].
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Gt, Lt
from torch import Tensor

from genmods.core import random
from genmods.core.settings import Count, Positive, Validated
from genmods.restoration.corruption import NoiseKind
from genmods.restoration.network import RestorationNetwork
from genmods.restoration.operators import Identity

Restore = Callable[[Tensor, Tensor | None], Tensor]
PenaltyName = Literal["l1", "l2", "charbonnier"]

_PROBE, _SPLIT, _SPOTS, _NEIGHBORS = 21, 22, 23, 24  # random streams


@dataclass(frozen=True)
class Example:
    """A training batch.

    Attributes:
        measured: The input of the network, [B, C, H, W].
        keys: Random keys of the loss, int64 [B].
        clean: The clean images [B, C, H, W], if known.
        again: A second measurement [B, C, H, W] of the same images with independent noise, if available.
        std: Standard deviation of the noise per pixel [B, C, H, W], if known.
    """

    measured: Tensor
    keys: Tensor
    clean: Tensor | None = None
    again: Tensor | None = None
    std: Tensor | None = None

    def known(self, name: Literal["clean", "again", "std"]) -> Tensor:
        """The member `name` [B, C, H, W]; raises ValueError if it is not known."""
        found: Tensor | None = getattr(self, name)
        if found is None:
            raise ValueError(f"the loss requires `{name}` of each image")
        return found


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
    """The registry kind `restoration_loss`: the loss of a restoration network."""

    needs: tuple[Literal["clean", "again", "std"], ...] = ()
    """The members of an `Example` that the loss requires."""
    noise: tuple[NoiseKind, ...] = ("gaussian", "other")
    """The kinds of noise of a corruption that the loss supports."""

    @abstractmethod
    def __call__(self, restore: Restore, example: Example) -> Tensor:
        """The loss per sample [B].

        Args:
            restore: Maps measured images [N, C, H, W] and the standard deviation of their noise per pixel
                [N, C, H, W], None if unknown, to restored images.
            example: The training batch.
        """


@dataclass
class _Difference(RestorationLoss):
    """The `penalty` of the difference from the one member of an `Example` that the loss needs."""

    penalty: PenaltyName

    def __call__(self, restore: Restore, example: Example) -> Tensor:
        return penalty(self.penalty, restore(example.measured, example.std) - example.known(*self.needs))


@dataclass
class Supervised(_Difference):
    """The `penalty` of the difference from the clean image: l1, l2 (mean squared error), or charbonnier."""

    needs = ("clean",)
    noise = ("gaussian", "other", "none")
    penalty: PenaltyName = "l1"


@dataclass
class Noise2Noise(_Difference):
    """Noise2Noise: the `penalty` of the difference from a second noisy image (Lehtinen et al. 2018).

    Zero-mean noise adds a constant to the expected squared error, so that the minimum is that for the clean target; l1
    leads to the median instead of the mean.
    """

    needs = ("again",)
    penalty: PenaltyName = "l2"


@dataclass
class SURE(RestorationLoss):
    """SURE, Stein's unbiased risk estimate of the mean squared error for independent Gaussian noise (Stein 1981).

    ‖f(y) − y‖² − Σ σ² + 2 Σ σ² ∂f/∂y, with the divergence estimated along one random direction b:
    b·(f(y + δ b) − f(y))/δ (Ramani, Blu and Unser 2008). `delta` is in units of σ.
    """

    needs = ("std",)
    noise = ("gaussian",)
    delta: Positive = 0.05

    def __call__(self, restore: Restore, example: Example) -> Tensor:
        y, std = example.measured, example.known("std")
        probe = random.normal(random.fold(example.keys, _PROBE), y[0].numel()).view(y.shape).to(y)
        step = self.delta * std.flatten(1).mean(1).clamp_min(1e-3).view(-1, 1, 1, 1)
        first, second = restore(torch.cat([y, y + step * probe]), std.repeat(2, 1, 1, 1)).chunk(2)
        divergence = std.square() * probe * (second - first) / step
        return ((first - y).square() - std.square() + 2 * divergence).flatten(1).mean(1)


@dataclass
class Recorrupted(RestorationLoss):
    """Recorrupted-to-recorrupted (Pang et al. 2021), for independent Gaussian noise of known standard deviation.

    With z standard normal, y + τ z and y − (σ²/τ) z have independent noise, so that the second is a target for the
    first as in `Noise2Noise`. `tau` is in units of σ: the network is trained with noise of √(1 + τ²) σ, and receives
    that level.
    """

    needs = ("std",)
    noise = ("gaussian",)
    tau: Positive = 0.5

    def __call__(self, restore: Restore, example: Example) -> Tensor:
        y, std = example.measured, example.known("std")
        z = random.normal(random.fold(example.keys, _SPLIT), y[0].numel()).view(y.shape).to(y)
        restored = restore(y + self.tau * std * z, math.sqrt(1 + self.tau**2) * std)
        return penalty("l2", restored - (y - std / self.tau * z))


@dataclass
class Noise2Void(RestorationLoss):
    """Noise2Void: predicts pixels from their neighbours only (Krull et al. 2019). The noise may be unknown, but must be
    independent between pixels.

    A `fraction` of the pixels is replaced by a random neighbour within `radius`; the loss is the squared error at these
    pixels. With `each_channel` the pixels differ between channels, so that a value is predicted from the other channels
    as well: this is much more accurate, but requires noise that is also independent between channels.
    """

    fraction: Annotated[float, Gt(0), Lt(1)] = 0.02
    radius: Count = 2
    each_channel: bool = False

    def __call__(self, restore: Restore, example: Example) -> Tensor:
        y = example.measured
        maps = y.shape[1] if self.each_channel else 1
        shape = len(y), maps, *y.shape[2:]
        u = random.uniform(random.fold(example.keys, _SPOTS), math.prod(shape[1:])).view(shape).to(y.device)
        spots = (u < self.fraction).expand_as(y)
        visible = torch.where(spots, self._neighbor(y, example.keys), y)
        error = (restore(visible, example.std) - y).square() * spots
        return error.flatten(1).sum(1) / spots.flatten(1).sum(1).clamp_min(1)

    def _neighbor(self, y: Tensor, keys: Tensor) -> Tensor:
        """Each pixel of `y` [B, C, H, W], at least two pixels, replaced by another pixel of the image in the square of
        side 2 radius + 1 around it."""
        height, width = y.shape[2:]
        row, column = torch.arange(height, device=y.device)[:, None], torch.arange(width, device=y.device)
        top, left = (row - self.radius).clamp_min(0), (column - self.radius).clamp_min(0)
        rows = (row + self.radius).clamp_max(height - 1) - top + 1
        columns = (column + self.radius).clamp_max(width - 1) - left + 1
        maps = y.shape[1] if self.each_channel else 1
        u = random.uniform(random.fold(keys, _NEIGHBORS), maps * height * width).view(len(y), maps, height, width)
        choice = (u.to(y.device) * (rows * columns - 1)).long()
        choice = choice + (choice >= (row - top) * columns + column - left)  # excludes the pixel itself
        index = (top + choice // columns) * width + left + choice % columns
        return y.flatten(2).gather(2, index.flatten(2).expand(-1, y.shape[1], -1)).view_as(y)


def check_loss(model: RestorationNetwork, loss: RestorationLoss | None = None) -> None:
    """Checks that a loss can train a model.

    Raises:
        ValueError: If the loss requires clean images and the data are noisy ones, an operator is to be inverted
            without clean images, or the loss does not support the noise of the corruption.
    """
    loss = loss or Supervised()
    name, corruption = type(loss).__name__.lower(), model.corruption
    if corruption is None and {"clean", "again"} & {*loss.needs}:
        raise ValueError(f"loss {name} requires clean images: set a corruption, or use sure or noise2void")
    if "clean" not in loss.needs and not isinstance(model.operator, Identity):
        operator = type(model.operator).__name__
        raise ValueError(f"loss {name} only denoises: the operator must be Identity, got {operator}; use supervised")
    if corruption is not None and corruption.noise not in loss.noise:
        wanted = "independent Gaussian noise" if loss.noise == ("gaussian",) else "random noise"
        kind = type(corruption).__name__
        raise ValueError(f"loss {name} requires a corruption with {wanted}, got {kind}; use supervised")
