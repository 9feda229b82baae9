"""Class labels as the condition."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from genmods.core.batch import LABEL
from genmods.core.errors import UserError
from genmods.core.printable import counted
from genmods.core.settings import ClassNames, DataClasses, Fraction
from genmods.diffusion.conditioning.base import Condition, Conditioning


class ClassLabels(Conditioning):
    """Class labels, as `cond["label"]`.

    Args:
        num_classes: Number of classes, at least 1.
        class_names: The names of the classes, by label; by default their numbers.
        drop: Share of training samples, in [0, 1], whose label is replaced by -1 (no label), for classifier-free
            guidance (Ho and Salimans 2022).
    """

    names = ("label",)

    def __init__(self, num_classes: DataClasses, class_names: ClassNames | None = None, drop: Fraction = 0.1) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError("class_labels needs data with classes; set conditioning: unconditional")
        self.drop, self.num_classes = drop, num_classes
        self.class_names = class_names or [str(k) for k in range(num_classes)]
        self.learns_null = drop > 0

    def forward(self, batch: Mapping[str, Tensor]) -> Condition:
        label = batch[LABEL]
        if label.is_floating_point():
            raise UserError(
                "conditioning: class_labels needs one class per image, got several or mixed ones (MixUp, CutMix)"
            )
        if self.training:
            label = torch.where(torch.rand(len(label), device=label.device) < self.drop, -1, label)
        return {"label": label}

    def groups(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The class of each sample, int64 [B], also where `drop` removes it from the condition."""
        return batch[LABEL]

    def null(self, n: int, device: torch.device | str | None = None) -> Condition:
        return {"label": torch.full((n,), -1, device=device)}

    def of(self, values: Mapping[str, Sequence[Any]], n: int, device: torch.device | str | None = None) -> Condition:
        return {"label": torch.tensor([self.number(value) for value in values["label"]], device=device)}

    def number(self, label: Any) -> int:
        """The class, given by number or name; -1 for none. Raises ValueError for an unknown class."""
        if label in self.class_names:
            return self.class_names.index(label)
        text = str(label)
        if re.fullmatch("-?[0-9]{1,9}", text) and -1 <= int(text) < self.num_classes:
            return int(text)
        raise ValueError(f"label={label}: the classes are {', '.join(self.class_names)}")

    def default(self, indices: Tensor) -> Condition:
        """Cycles through the classes."""
        return {"label": indices % self.num_classes}

    def describe(self, cond: Condition) -> list[str]:
        return [self.class_names[k] if k >= 0 else "" for k in cond["label"].tolist()]

    def check(self, network: nn.Module) -> None:
        known = getattr(network, "num_classes", self.num_classes)
        if known < self.num_classes:
            raise ValueError(
                f"{type(network).__name__} knows {counted(known, 'class')} and the data have {self.num_classes}: "
                "set its num_classes, or conditioning: unconditional"
            )

    def require_trained(self, cond: Condition) -> None:
        if not self.learns_null and bool((cond["label"] < 0).any()):
            raise UserError("the model was trained with drop: 0 and requires a label for every image")

    def same_as(self, other: Conditioning) -> bool:
        return isinstance(other, ClassLabels) and class_order(other.class_names, self.class_names) is not None

    def translate(self, cond: Condition, other: Conditioning) -> Condition:
        order = class_order(other.class_names, self.class_names) if isinstance(other, ClassLabels) else None
        assert order is not None
        return {"label": reordered(cond["label"], order)}


def class_order(names: Sequence[str], others: Sequence[str]) -> Tensor | None:
    """The place in `others` of each of the classes `names`, int64 [K]; None if they are not the same classes.

    Classes without names, whose names are their numbers, correspond to others by number.
    """
    if sorted(names) == sorted(others):
        return torch.tensor([others.index(name) for name in names], dtype=torch.int64)
    numbers = [str(k) for k in range(len(names))]
    unnamed = len(names) == len(others) and numbers in (list(names), list(others))
    return torch.arange(len(names)) if unnamed else None


def reordered(label: Tensor, order: Tensor) -> Tensor:
    """The places in `order` (`class_order`) of classes `label`, int64 [B]; -1 remains -1."""
    return torch.where(label < 0, label, order.to(label.device)[label.clamp_min(0)])
