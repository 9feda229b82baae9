"""Conditioning on numbers, the labels of regression data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from genmods.core.batch import LABEL
from genmods.core.errors import UserError
from genmods.core.printable import counted
from genmods.core.settings import ClassNames, Fraction
from genmods.diffusion.conditioning.base import Condition, Conditioning


class Numbers(Conditioning):
    """Numbers per image, such as an age, as `cond["vector"]` [B, K], from data with float labels [B, K].

    They are standardized by the mean and standard deviation of the training data. A request may leave some of them
    unknown: `{"age": 40}`.

    Args:
        class_names: The names of the numbers, at least one.
        drop: Share of training samples without a condition, in [0, 1]; each number of the others is dropped with the
            same probability.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, class_names: ClassNames, drop: Fraction = 0.1) -> None:
        super().__init__()
        if not class_names:
            raise ValueError("numbers needs data with named numbers as its labels; set conditioning: unconditional")
        self.drop, self.names = drop, tuple(class_names)
        self.learns_null = drop > 0
        self.register_buffer("mean", torch.zeros(len(class_names)))
        self.register_buffer("std", torch.ones(len(class_names)))

    def fit(self, batch: Mapping[str, Tensor]) -> None:
        label = self._label(batch).double()
        self.mean.copy_(label.mean(0))
        self.std.copy_(label.std(0).clamp_min(1e-12))

    def _label(self, batch: Mapping[str, Tensor]) -> Tensor:
        label = batch[LABEL]
        if not label.is_floating_point() or label.shape[1:] != (len(self.names),):
            raise UserError(
                f"conditioning: numbers needs {counted(len(self.names), 'number')} per image, got {list(label.shape)}"
            )
        return label

    def forward(self, batch: Mapping[str, Tensor]) -> Condition:
        vector = (self._label(batch).float() - self.mean) / self.std
        if self.training:
            count = len(self.names)
            unknown = torch.rand(len(vector), 1, device=vector.device) < self.drop
            if count > 1:
                unknown = unknown | (torch.rand(len(vector), count, device=vector.device) < self.drop)
            vector = vector.masked_fill(unknown, math.nan)
        return {"vector": vector}

    def null(self, n: int, device: torch.device | str | None = None) -> Condition:
        return {"vector": torch.full((n, len(self.names)), math.nan, device=device)}

    def default(self, indices: Tensor) -> Condition:
        """Unknown numbers, or the mean of the data if training had no unknown ones."""
        cond = self.null(len(indices), indices.device)
        return cond if self.learns_null else {"vector": torch.zeros_like(cond["vector"])}

    def of(self, values: Mapping[str, Sequence[Any]], n: int, device: torch.device | str | None = None) -> Condition:
        known = {name: [self.number(name, value) for value in each] for name, each in values.items()}
        vector = torch.tensor([known.get(name, [math.nan] * n) for name in self.names], device=device).T
        return {"vector": (vector - self.mean.to(vector)) / self.std.to(vector)}

    def number(self, name: str, value: Any) -> float:
        """A requested value. Raises ValueError if it is not a finite number."""
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise ValueError(f"{name}={value}: expected a finite number")
        return number

    def translate(self, cond: Condition, other: Conditioning) -> Condition:
        assert isinstance(other, Numbers)
        vector = cond["vector"]
        values = vector * other.std.to(vector) + other.mean.to(vector)
        return {"vector": (values - self.mean.to(vector)) / self.std.to(vector)}

    def describe(self, cond: Condition) -> list[str]:
        values = cond["vector"] * self.std.to(cond["vector"]) + self.mean.to(cond["vector"])
        return [
            ", ".join(f"{name}={x:.4g}" for name, x in zip(self.names, row, strict=True) if x == x)
            for row in values.tolist()
        ]

    def check(self, network: nn.Module) -> None:
        size = getattr(network, "cond_size", len(self.names))
        if size != len(self.names):
            raise ValueError(
                f"{type(network).__name__} takes {counted(size, 'number')} as its condition, and the data has "
                f"{len(self.names)}: set its cond_size to {len(self.names)}"
            )

    def require_trained(self, cond: Condition) -> None:
        if not self.learns_null and bool(cond["vector"].isnan().any()):
            raise UserError("the model was trained with drop: 0 and requires all of its numbers")
