"""What is read from, or written to, attributes of Lightning that it does not document (Lightning 2.6).

Nothing here imports Lightning; `trainer` is a `lightning.pytorch.Trainer`.
"""

from __future__ import annotations

from typing import Any


def batches_done(trainer: Any) -> int:
    """Training batches processed since the run began, those of earlier processes included."""
    return trainer.fit_loop.epoch_loop.batch_progress.total.processed


def logged_step(trainer: Any) -> int:
    """The step at which Lightning writes a row of metrics now: one less than the number of steps taken."""
    return trainer.fit_loop.epoch_loop._batches_that_stepped


def set_logged_step(trainer: Any, step: int, epoch: int) -> None:
    """Make `trainer` write its rows of metrics at `step` and `epoch`."""
    trainer.fit_loop.epoch_loop._batches_that_stepped = step
    trainer.fit_loop.epoch_progress.current.processed = epoch


def is_accumulating(trainer: Any) -> bool:
    """Whether gradients are kept for a later step of the optimizer."""
    return trainer.fit_loop._should_accumulate()
