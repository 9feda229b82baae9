"""Composed corruptions: one of several, several in sequence, or one with random settings, drawn per image.

All draws are functions of the key of the image.
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
from genmods.restoration.corruption import Corruption, NoiseKind

_DRAW, _INNER = 11, 12  # random streams: the choice of a corruption, and the keys of the chosen one


@dataclass
class Drawn(Corruption):
    """Base class of corruptions that are drawn per image; a subclass defines `draw`."""

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
        """Raises ValueError: the noise differs between images, see `noise_std`."""
        raise ValueError(f"the standard deviation of {type(self).__name__.lower()} differs between images")


@dataclass
class RandomChoice(Drawn):
    """One of several `corruptions`, with equal probabilities."""

    corruptions: Annotated[list[Corruption], MinLen(1)]

    @property
    def noise(self) -> NoiseKind:
        return _least(*self.corruptions)

    def draw(self, key: Tensor) -> Corruption:
        u = random.uniform(random.fold(key, _DRAW)[None], 1).item()
        return self.corruptions[int(u * len(self.corruptions))]

    def covers(self, other: Corruption) -> bool:
        return self == other or any(corruption.covers(other) for corruption in self.corruptions)


@dataclass
class UniformRange(Drawn):
    """A corruption whose settings are drawn uniformly between those of `low` and `high`, independently per image.

    `low` and `high` must have the same class. Integer settings are drawn as integers, and lists item by item.
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

    @property
    def noise(self) -> NoiseKind:
        return _least(self.low, self.high)

    def draw(self, key: Tensor) -> Corruption:
        numbers = iter(random.uniform(random.fold(key, _DRAW)[None], 64)[0].tolist())
        low: Any = self.low
        drawn, hints = {}, hints_of(type(low))
        for field in fields(low):
            ends = getattr(low, field.name), getattr(self.high, field.name)
            drawn[field.name] = _between(*ends, _is_whole(hints[field.name]), numbers)
        return replace(low, **drawn)

    def covers(self, other: Corruption) -> bool:
        if type(other) is type(self):
            return self == other
        low = self.low
        if type(other) is not type(low) or not is_dataclass(low):
            return False
        names = [field.name for field in fields(low)]
        return all(_contains(getattr(self.low, n), getattr(self.high, n), getattr(other, n)) for n in names)


def _least(*corruptions: Corruption) -> NoiseKind:
    """The kind of noise of a corruption that is one of several."""
    kinds = {corruption.noise for corruption in corruptions}
    return "none" if "none" in kinds else "other" if "other" in kinds else "gaussian"


def _is_whole(hints: Hints) -> bool:
    """Whether a setting is an integer, or a list of integers."""
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


def _contains(low: Any, high: Any, value: Any) -> bool:
    """Whether `value` can be drawn between `low` and `high`."""
    if isinstance(low, list | tuple):
        return len(value) == len(low) and all(map(_contains, low, high, value))
    if isinstance(low, bool) or not isinstance(low, int | float):
        return bool(value == low)
    return bool(min(low, high) <= value <= max(low, high))


@dataclass
class Chain(Corruption):
    """Several `corruptions` in sequence, such as noise followed by JPEG compression."""

    corruptions: Annotated[list[Corruption], MinLen(1)]

    @property
    def noise(self) -> NoiseKind:
        kinds = {corruption.noise for corruption in self.corruptions}
        return "other" if len(kinds) > 1 else kinds.pop()

    def __call__(self, x: Tensor, keys: Tensor) -> Tensor:
        for place, corruption in enumerate(self.corruptions):
            x = corruption(x, random.fold(keys, place))
        return x

    def std(self, x: Tensor) -> Tensor:
        """The root of the sum of the variances, each computed for the clean image."""
        return _root_sum_square([corruption.std(x) for corruption in self.corruptions])

    def noise_std(self, x: Tensor, keys: Tensor) -> Tensor:
        return _root_sum_square([c.noise_std(x, random.fold(keys, place)) for place, c in enumerate(self.corruptions)])


def _root_sum_square(values: list[Tensor]) -> Tensor:
    return torch.stack(values).square().sum(0).sqrt()
