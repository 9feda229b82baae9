"""A run that is asked to stop: it completes its step, writes `last.ckpt`, and goes on from there as if never stopped.

A signal sets a flag while the model trains, and ends the process at once where there is nothing to lose. The flag is
looked at between two steps, and in a validation, which changes nothing, between two of its batches or samples.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from genmods.callbacks.checkpoint import RunCheckpoint
from genmods.core.progress import Progress
from genmods.tracking.base import run_folder

_ASKED = 10
"""Several ranks agree on the flag after so many steps or batches, since asking makes them wait for each other."""


class Stopped(SystemExit):
    """The end of a run that was asked to stop.

    Args:
        status: The exit status: 128 + the number of the signal.
        run: The run folder, once there is a checkpoint in it.
        step: The step of its `last.ckpt`.
    """

    def __init__(self, status: int, run: Path | None = None, step: int = 0) -> None:
        super().__init__(status)
        self.run, self.step = run, step


class StopSignals:
    """Within the block SIGTERM, SIGINT, SIGHUP and, under SLURM, SIGUSR1 (as a SIGTERM) ask the run to stop.

    `deferred` says whether they set `received` alone, or raise `Stopped` too. A second SIGINT is a KeyboardInterrupt.
    Signals that the process ignores stay ignored, and outside of the main thread, where Python takes none, nothing
    changes.
    """

    def __init__(self) -> None:
        self.received = 0
        self.deferred = False
        self._process = os.getpid()
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        self.install()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def install(self) -> None:
        """Take the signals, also from those who took them in the meantime."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _numbers():
            handler = signal.getsignal(number)
            if handler not in (signal.SIG_IGN, self._note):
                self._previous.setdefault(number, handler)
                signal.signal(number, self._note)

    @property
    def status(self) -> int:
        """The exit status: 128 + the number of the signal that was received on this rank or another."""
        return 128 + (self.received or signal.SIGTERM)

    def _note(self, number: int, _: Any) -> None:
        if os.getpid() != self._process:  # a worker that loads data
            return
        if self.received == signal.SIGINT == number:
            raise KeyboardInterrupt
        self.received = signal.SIGTERM if number == getattr(signal, "SIGUSR1", None) else number
        if not self.deferred:
            raise Stopped(self.status)


def _numbers() -> list[int]:
    names = ["SIGTERM", "SIGINT", "SIGHUP"] + ["SIGUSR1"] * ("SLURM_JOB_ID" in os.environ)
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


class StopOnRequest(Callback):
    """Ends the training where `signals` or the time budget ask for it.

    After a signal `last.ckpt` is written and `Stopped` raised; in a validation the checkpoint says that it is still to
    be held. After `seconds` of this process's training, None for no limit, `last.ckpt` is written and the training ends
    as at its last step, but without a validation that was not due.
    """

    def __init__(self, signals: StopSignals, checkpoint: RunCheckpoint, seconds: float | None = None) -> None:
        self.signals, self.checkpoint, self.seconds = signals, checkpoint, seconds
        self.out_of_time = False
        self._began = 0.0

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.signals.install()  # Lightning has handlers that call collectives

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.signals.install()
        self.signals.deferred = True
        self._began = time.monotonic()
        trainer.fit_loop.epoch_loop.hold_owed()  # type: ignore[attr-defined]

    def on_step_end(self, trainer: Trainer) -> None:
        if trainer.world_size > 1 and trainer.global_step % _ASKED:
            return
        if self._asked(trainer, bool(self.signals.received)):
            self._stop(trainer)
        if self.seconds is not None:
            self.out_of_time = self._asked(trainer, time.monotonic() - self._began >= self.seconds)
        if self.out_of_time:
            self.checkpoint.save_last(trainer)
            trainer.should_stop = True

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if trainer.world_size == 1 or batch_idx % _ASKED == 0:
            self.look(trainer)

    def look(self, trainer: Trainer) -> None:
        """In a validation of a fit: leave it where that is asked for, on all ranks together."""
        loop: Any = trainer.fit_loop.epoch_loop
        if loop.states_before is not None and self._asked(trainer, bool(self.signals.received)):
            loop.owed_in_epoch = trainer.current_epoch
            self._stop(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        loop: Any = trainer.fit_loop.epoch_loop
        if loop.owed_in_epoch is not None and loop.states_before is not None:
            checkpoint["callbacks"] = (
                loop.states_before
            )  # some have had their part of the validation: they have it again

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.signals.deferred = False

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.signals.deferred = False

    def _asked(self, trainer: Trainer, here: bool) -> bool:
        return trainer.strategy.reduce_boolean_decision(here, all=False)

    def _stop(self, trainer: Trainer) -> None:
        self.checkpoint.save_last(trainer)
        raise Stopped(self.signals.status, run_folder(trainer), trainer.global_step)


def looking(trainer: Trainer) -> Progress:
    """The progress of samples that a validation makes: after each step the run may stop, on one rank alone."""
    stops = _stops(trainer)

    def look(done: int, total: int) -> None:
        if trainer.world_size == 1:
            for stop in stops:
                stop.look(trainer)

    return look


def out_of_time(trainer: Trainer) -> bool:
    """Whether the training ended with its time budget."""
    return any(stop.out_of_time for stop in _stops(trainer))


def _stops(trainer: Trainer) -> list[StopOnRequest]:
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    return [callback for callback in callbacks if isinstance(callback, StopOnRequest)]
