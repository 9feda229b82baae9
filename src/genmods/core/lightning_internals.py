"""Access to undocumented attributes of Lightning (2.6).

This module does not import Lightning; `trainer` is a `lightning.pytorch.Trainer`.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def batches_done(trainer: Any) -> int:
    """Training batches processed since the start of the run, including earlier processes."""
    return trainer.fit_loop.epoch_loop.batch_progress.total.processed


def logged_step(trainer: Any) -> int:
    """The step at which Lightning logs now: one less than the number of steps taken."""
    return trainer.fit_loop.epoch_loop._batches_that_stepped


def set_logged_step(trainer: Any, step: int, epoch: int) -> None:
    """Make `trainer` log at `step` and `epoch`."""
    trainer.fit_loop.epoch_loop._batches_that_stepped = step
    trainer.fit_loop.epoch_progress.current.completed = epoch


def is_accumulating(trainer: Any) -> bool:
    """Whether gradients are being accumulated for a later optimizer step."""
    return trainer.fit_loop._should_accumulate()


def is_last_step(trainer: Any) -> bool:
    """Whether the training ends with the optimizer step of the current batch."""
    if trainer.max_steps != -1 and logged_step(trainer) + 1 >= trainer.max_steps:
        return True
    epochs = -1 if trainer.max_epochs is None else trainer.max_epochs
    loop = trainer.fit_loop
    last_epoch = epochs != -1 and loop.epoch_progress.current.processed + 1 >= epochs
    return last_epoch and loop.epoch_loop._num_ready_batches_reached()


def batches_left(trainer: Any, batches: int) -> int:
    """The number of training batches left by `limit_train_batches` or `overfit_batches`, at least 1 for a fraction."""
    limit = trainer.overfit_batches or trainer.limit_train_batches
    if isinstance(limit, int):
        return min(batches, limit)
    return max(1, int(batches * limit)) if limit else 0


def is_trial(trainer: Any) -> bool:
    """Whether this is a trial run, `fast_dev_run` or `overfit_batches`, whose model is not used."""
    return bool(trainer.fast_dev_run or trainer.overfit_batches)


@contextmanager
def without_external_callbacks() -> Iterator[None]:
    """A context in which a Trainer ignores callbacks from the entry points of other distributions."""
    connector: Any = sys.modules["lightning.pytorch.trainer.connectors.callback_connector"]
    load = connector._load_external_callbacks
    connector._load_external_callbacks = lambda group: []
    try:
        yield
    finally:
        connector._load_external_callbacks = load


@contextmanager
def signals_untouched(trainer: Any) -> Iterator[None]:
    """A context in which `trainer` installs no signal handlers, for a fit within another program.

    Lightning would ignore SIGINT from a KeyboardInterrupt on and exit; it is raised as it is.
    """
    trainer._signal_connector.register_signal_handlers = lambda: None
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)
