"""The metric that selects the best checkpoint of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

Mode = Literal["min", "max"]


@dataclass(frozen=True)
class Monitor:
    """A logged metric and whether lower ("min") or higher ("max") is better."""

    name: str
    mode: Mode


class Score(NamedTuple):
    """The value of a monitored metric, and the validation loss beside it, where there is one."""

    value: float
    loss: float | None = None

    def improves(self, best: Score | None, mode: Mode) -> bool:
        """Whether the value is finite and better than `best`, or as good and the loss is no higher."""
        if best is None or not math.isfinite(self.value):
            return math.isfinite(self.value)
        if self.value == best.value:
            return _least(self.loss) <= _least(best.loss)
        return self.value < best.value if mode == "min" else self.value > best.value


def _least(loss: float | None) -> float:
    return math.inf if loss is None or math.isnan(loss) else loss
