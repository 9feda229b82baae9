"""The metric that selects the best checkpoint of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from genmods.core.errors import UserError
from genmods.tracking.names import direction

Mode = Literal["min", "max"]


def monitor_of(metric: str, mode: Mode | None) -> Monitor:
    """The monitor of `metric`; its mode follows from its name if it is None and the name is known, else ValueError."""
    known = mode or direction(metric)
    if known == "last":
        raise ValueError(f"mode must be min or max for {metric!r}, whose direction is not known")
    return Monitor(metric, known)


@dataclass(frozen=True)
class Monitor:
    """A logged metric and whether lower ("min") or higher ("max") is better."""

    name: str
    mode: Mode

    def value(self, metrics: Mapping[str, Any]) -> float:
        """The value of the metric in the logged `metrics`. Raises UserError if it is not logged."""
        if self.name not in metrics:
            raise UserError(
                f"the monitored metric {self.name!r} is not logged; there are: {', '.join(sorted(metrics))}"
            )
        return float(metrics[self.name])


def require_validation(trainer: Any, where: str, metric: str) -> None:
    """Raises UserError if the setting `where` monitors a validation `metric`, but there are no validation data."""
    splits = getattr(trainer.datamodule, "splits", None)
    if splits is not None and metric.startswith("val/") and "val" not in splits:
        raise UserError(f"{where}: monitors {metric}, but there are no validation data")


class Score(NamedTuple):
    """The value of a monitored metric, and the validation loss if any."""

    value: float
    loss: float | None = None

    def improves(self, best: Score | None, mode: Mode) -> bool:
        """Whether the value is finite and better than `best`, or equal with a loss that is not higher."""
        if best is None or not math.isfinite(self.value):
            return math.isfinite(self.value)
        if self.value == best.value:
            return _least(self.loss) <= _least(best.loss)
        return self.value < best.value if mode == "min" else self.value > best.value


def _least(loss: float | None) -> float:
    return math.inf if loss is None or math.isnan(loss) else loss
