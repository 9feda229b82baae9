"""Early stopping: training ends when a validation metric has stopped improving."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict
from typing import Annotated, Any, Literal

from annotated_types import Ge
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from genmods.callbacks.intervals import is_validating_a_fit
from genmods.callbacks.requirement import Requiring
from genmods.core.lightning_internals import is_trial
from genmods.core.printable import say
from genmods.core.settings import NonNegative, Validated
from genmods.tracking.monitor import Monitor, monitor_of, require_validation


class EarlyStopping(Validated, Requiring):
    """Early stopping: ends training after `patience` consecutive validations without an improvement.

    The count is saved in checkpoints: a resumed run stops at the same step as an uninterrupted one, and a stopped run
    continues only with a larger `patience`.

    Args:
        monitor: A logged metric; None uses that of the task.
        mode: Whether a lower ("min") or higher ("max") value is better; None infers it from the name of the metric.
        patience: Number of validations without an improvement, at least 1.
        min_delta: The smallest change that counts as an improvement, at least 0.
    """

    requires = "monitor"

    def __init__(
        self,
        monitor: str | None = None,
        mode: Literal["min", "max"] | None = None,
        patience: Annotated[int, Ge(1)] = 3,
        min_delta: NonNegative = 0.0,
    ) -> None:
        self.monitor: Monitor | None = None if monitor is None else monitor_of(monitor, mode)
        self.patience, self.min_delta = patience, min_delta
        self.best: float | None = None
        self.waited = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.monitor = self.monitor or getattr(pl_module, "monitor", None)
        if stage == "fit":
            self.require(pl_module)
            require_validation(trainer, "callbacks.early_stopping", self.monitor.name if self.monitor else "")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or self.waited >= self.patience

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.monitor is None or not is_validating_a_fit(trainer) or is_trial(trainer):
            return
        if self.monitor.name in getattr(pl_module, "left_out", ()):
            return
        value = self.monitor.value(trainer.callback_metrics)
        if self._improves(value):
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            trainer.should_stop = True
            reason = "has never been finite" if self.best is None else f"has not improved on {self.best:.4g}"
            _print(f"stopped early at step {trainer.global_step}: {self.monitor.name} {reason}")

    def _improves(self, value: float) -> bool:
        if self.best is None or not math.isfinite(value):
            return math.isfinite(value)
        assert self.monitor is not None
        gain = self.best - value if self.monitor.mode == "min" else value - self.best
        return gain > self.min_delta

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited, "monitor": self.monitor and asdict(self.monitor)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if state_dict["monitor"] == self.state_dict()["monitor"]:  # another metric starts a new count
            self.best, self.waited = state_dict["best"], state_dict["waited"]


@rank_zero_only
def _print(line: str) -> None:
    say(line, file=sys.stderr)
