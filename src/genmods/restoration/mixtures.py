"""Corruptions made of others: one of several, one after the other, or of a strength between two, drawn per image.

What is drawn is a function of the image's key, as all randomness here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Annotated, Any

import torch
from annotated_types import MinLen
from torch import Tensor

from genmods.core import random
from genmods.core.limits import Hints
from genmods.core.settings import hints_of
from genmods.restoration.corruption import Corruption

_DRAW, _INNER = 11, 12  # streams of the keys of what is drawn, and of the corruption that is drawn


@dataclass
class Drawn(Corruption):
    """Base of corruptions that differ from image to image; a subclass defines `draw`."""

    def draw(self, key: Tensor) -> Corruption:
        """The corruption of the image with `key` (int64 [])."""
        raise NotImplementedError

    def __call__(self, x: Tensor, keys: Tensor) -> Tensor:
        return self._by_image(lambda corruption, image, key: corruption(image, key), x, keys)

    def noise_std(self, x: Tensor, keys: Tensor) -> Tensor:
        return self._by_image(lambda corruption, image, key: corruption.noise_std(image, key), x, keys)

    def _by_image(self, make: Callable[[Corruption, Tensor, Tensor], Tensor], x: Tensor, keys: Tensor) -> Tensor:
        inner = random.fold(keys, _INNER)
        return torch.cat([make(self.draw(keys[i]), x[i : i + 1], inner[i : i + 1]) for i in range(len(x))])

    def std(self, x: Tensor) -> Tensor:
        """Raises ValueError: the noise depends on what is drawn, see `noise_std`."""
        raise ValueError(f"the standard deviation of {type(self).__name__.lower()} differs from image to image")


@dataclass
class OneOf(Drawn):
    """One of several `corruptions`, each as likely as the others."""

    corruptions: Annotated[list[Corruption], MinLen(1)]

    def draw(self, key: Tensor) -> Corruption:
        u = random.uniform(random.fold(key, _DRAW)[None], 1).item()
        return self.corruptions[int(u * len(self.corruptions))]


@dataclass
class Between(Drawn):
    """The corruption of `low` and `high` with each setting drawn uniformly between theirs, independently per image.

    `low` and `high` are corruptions of one kind; whole numbers stay whole, and each entry of a list is drawn.
    """

    low: Corruption
    high: Corruption

    def __post_init__(self) -> None:
        for end in (self.low, self.high):
            if not is_dataclass(end):
                raise ValueError(f"low and high must be dataclasses, got {type(end).__name__}")
        if type(self.low) is not type(self.high):
            kinds = type(self.low).__name__, type(self.high).__name__
            raise ValueError(f"low and high must be corruptions of one kind, got {kinds[0]} and {kinds[1]}")

    def draw(self, key: Tensor) -> Corruption:
        numbers = iter(random.uniform(random.fold(key, _DRAW)[None], 64)[0].tolist())
        low: Any = self.low
        drawn, hints = {}, hints_of(type(low))
        for field in fields(low):
            ends = getattr(low, field.name), getattr(self.high, field.name)
            drawn[field.name] = _between(*ends, _is_whole(hints[field.name]), numbers)
        return replace(low, **drawn)


def _is_whole(hints: Hints) -> bool:
    """Whether a setting takes whole numbers, or lists of them."""
    forms = [hint.form for hint in hints] + [item.form for hint in hints for inner in hint.items for item in inner]
    return int in forms and float not in forms


def _between(low: Any, high: Any, whole: bool, numbers: Iterator[float]) -> Any:
    if isinstance(low, list | tuple):
        return [_between(a, b, whole, numbers) for a, b in zip(low, high, strict=True)]
    if isinstance(low, bool) or not isinstance(low, int | float):
        return low
    if whole:
        return min(low + int(next(numbers) * (high - low + 1)), high)
    return low + next(numbers) * (high - low)


@dataclass
class InTurn(Corruption):
    """Several `corruptions`, the first one first, such as noise and the compression of the noisy image."""

    corruptions: Annotated[list[Corruption], MinLen(1)]

    def __call__(self, x: Tensor, keys: Tensor) -> Tensor:
        for place, corruption in enumerate(self.corruptions):
            x = corruption(x, random.fold(keys, place))
        return x

    def std(self, x: Tensor) -> Tensor:
        """The root of the sum of variances, as if each were at work on the clean image."""
        return _root_sum_square([corruption.std(x) for corruption in self.corruptions])

    def noise_std(self, x: Tensor, keys: Tensor) -> Tensor:
        return _root_sum_square([c.noise_std(x, random.fold(keys, place)) for place, c in enumerate(self.corruptions)])


def _root_sum_square(values: list[Tensor]) -> Tensor:
    return torch.stack(values).square().sum(0).sqrt()
