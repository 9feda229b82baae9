"""Training progress: in a terminal or a notebook a bar with loss, images/s and remaining time, otherwise plain lines.

Pipes and log files receive no control codes: one line after each validation, and at most one every `SECONDS` in
between.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar

from genmods.callbacks.bars import Bar, make_bar
from genmods.callbacks.intervals import is_validating_a_fit
from genmods.callbacks.throughput import batch_size
from genmods.core.printable import say

SECONDS = 30.0


class TrainingProgress(ProgressBar):
    """Progress of `fit` over all its steps, on stderr, on rank 0."""

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._bar: Bar | None = None
        self._images, self._rate, self._mark, self._printed, self._start = 0, 0.0, 0.0, 0.0, 0.0
        self._first = 0

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._enabled or not trainer.is_global_zero:
            return
        self._first = trainer.global_step
        self._start = self._mark = self._printed = time.perf_counter()
        self._bar = make_bar(self._total(trainer), self._first)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not self._enabled or not trainer.is_global_zero:
            return
        now = time.perf_counter()
        self._images += batch_size(batch) * trainer.world_size
        if now - self._mark > 0.5:
            self._rate, self._images, self._mark = self._images / (now - self._mark), 0, now
            if self._bar:
                self._bar.update(trainer.global_step, self._figures(trainer))
        if not self._bar and now - self._printed > SECONDS:
            self._print(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._enabled and trainer.is_global_zero and is_validating_a_fit(trainer):
            if self._bar:
                self._bar.update(trainer.global_step, self._figures(trainer))
            else:
                self._print(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._stop(trainer)

    def _stop(self, trainer: Trainer) -> None:
        if self._bar:
            self._bar.update(trainer.global_step, self._figures(trainer))
            self._bar.stop()
            self._bar = None

    def _total(self, trainer: Trainer) -> int | None:
        total = trainer.estimated_stepping_batches
        return int(total) if total != float("inf") else None

    def _figures(self, trainer: Trainer) -> str:
        shown = {k: v for k, v in trainer.progress_bar_metrics.items() if "/" in k}
        figures = [f"{name.removeprefix('train/')} {float(value):.4g}" for name, value in shown.items()]
        return "  ".join([*figures, f"{self._rate:.0f} images/s"])

    def _print(self, trainer: Trainer) -> None:
        now, total, done = time.perf_counter(), self._total(trainer), trainer.global_step
        self._printed = now
        left = ""
        if total and done > self._first:
            minutes = (now - self._start) / (done - self._first) * (total - done) / 60
            left = f"  {minutes:.0f} min left" if minutes >= 1 else f"  {60 * minutes:.0f} s left"
        say(f"step {done}/{total or '?'}  {self._figures(trainer)}{left}", file=sys.stderr)
