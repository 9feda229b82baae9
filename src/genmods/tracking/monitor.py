"""The metric by which the best checkpoint of a run is chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Mode = Literal["min", "max"]


@dataclass(frozen=True)
class Monitor:
    """A logged metric and whether less ("min") or more ("max") of it is better."""

    name: str
    mode: Mode

    def improves(self, value: float, best: float | None) -> bool:
        """Whether `value` is finite and better than `best`; None is worse than any."""
        if best is None or not math.isfinite(value):
            return math.isfinite(value)
        return value < best if self.mode == "min" else value > best
