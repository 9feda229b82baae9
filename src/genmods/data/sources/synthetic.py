"""Synthetic shapes for tests: the class determines shape and hue, keys determine position, size and noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor

from genmods.core.label_kinds import LabelKind
from genmods.core.random import fold, normal, uniform
from genmods.core.settings import Count, NonNegative, Seed
from genmods.data.images import Images, Source, to_uint8
from genmods.data.sources.shapes import kind_of_labels


@dataclass
class Synthetic(Source):
    """Deterministic coloured shapes: class k determines the shape (disc, square, diamond, cross in turn) and the hue.

    Image i of a split depends on (seed, split, i) only; all classes are equally frequent. With `targets` "class" the
    label is the class; with "place" it is float [N, 3], row and column of the centre and the radius, relative to the
    side; with "multilabel" it is float [N, classes], the shapes present, each in half of the images.
    """

    kind_of_labels_from: ClassVar[str] = "genmods.data.sources.shapes:kind_of_labels"

    train_images: Annotated[int, Ge(1), Le(1_000_000)] = 512
    test_images: Annotated[int, Ge(0), Le(1_000_000)] = 128
    side: Annotated[int, Ge(4), Le(4096)] = 16
    channels: Annotated[int, Ge(1), Le(256)] = 3
    classes: Count = 4
    noise: NonNegative = 0.05
    targets: Literal["class", "place", "multilabel"] = "class"
    seed: Seed = 0

    def read(self) -> dict[str, Images]:
        sizes = {"train": self.train_images, "test": self.test_images}
        return {name: self._draw(split, n) for split, (name, n) in enumerate(sizes.items()) if n}

    @property
    def kind_of_labels(self) -> LabelKind:
        return kind_of_labels({"targets": self.targets})

    @property
    def class_names(self) -> list[str]:
        if self.targets == "place":
            return ["height", "width", "radius"]
        shapes = ("disc", "square", "diamond", "cross")
        return [f"{shapes[k % 4]} {k // 4}" if self.classes > 4 else shapes[k] for k in range(self.classes)]

    def _draw(self, split: int, n: int) -> Images:
        keys, labels = fold(self.seed, split, torch.arange(n)), torch.arange(n) % self.classes
        if self.targets == "multilabel":
            places = uniform(keys, 3 * self.classes).view(n, self.classes, 3)
            labels = (uniform(keys, self.classes, stream=2) < 0.5).float()
            shapes = [self._shape(torch.full((n,), k), _placed(places[:, k])) for k in range(self.classes)]
            light = (torch.stack(shapes, dim=1) * labels[:, :, None, None, None]).amax(1)
        else:
            place = _placed(uniform(keys, 3))
            light = self._shape(labels, place)
            labels = place if self.targets == "place" else labels
        images = light - 1 + self.noise * normal(keys, light[0].numel(), stream=1).view_as(light)
        return Images(to_uint8(images), labels)

    def _shape(self, labels: Tensor, place: Tensor) -> Tensor:
        """Shapes of classes `labels` [B] at `place` [B, 3], each in its hue: [B, C, side, side], 0 elsewhere."""
        phase = labels[:, None] / self.classes + torch.arange(self.channels) / self.channels
        color = 0.35 + 0.6 * torch.cos(torch.pi * phase).square()
        return 2 * _inside(labels % 4, place[:, :2], place[:, 2], self.side)[:, None] * color[:, :, None, None]


def _placed(u: Tensor) -> Tensor:
    """Centre and radius [B, 3] from uniform numbers [B, 3], such that shapes are hardly clipped."""
    return torch.tensor([0.3, 0.3, 0.15]) + torch.tensor([0.4, 0.4, 0.15]) * u


def _inside(shape: Tensor, center: Tensor, radius: Tensor, side: int) -> Tensor:
    """Coverage [B, side, side], 0 or 1, of a shape (0 disc, 1 square, 2 diamond, 3 cross) at `center` [B, 2]."""
    grid = (torch.arange(side) + 0.5) / side
    y = (grid[None, :, None] - center[:, 0, None, None]).abs() / radius[:, None, None]
    x = (grid[None, None, :] - center[:, 1, None, None]).abs() / radius[:, None, None]
    distances = torch.stack([(x * x + y * y).sqrt(), torch.maximum(x, y), x + y], dim=1)
    cross = torch.minimum(torch.maximum(3 * x, y), torch.maximum(x, 3 * y))
    distances = torch.cat([distances, cross[:, None]], dim=1)
    return (distances[torch.arange(len(shape)), shape] <= 1).float()
