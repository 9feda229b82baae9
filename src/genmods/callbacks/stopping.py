"""Clean stops on request: the run completes its step and writes `last.ckpt`, from which it can be resumed exactly.

A signal sets a flag during training, and ends the process at once if there is nothing to lose. The flag is checked
between two steps, and, in a validation, between two batches or samples.
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
from genmods.core.errors import StopRequest
from genmods.core.progress import Progress
from genmods.tracking.base import run_folder

_ASKED = 10
"""Steps or batches between two agreements of several ranks on the flag, which synchronise them."""


class Stopped(StopRequest):
    """The end of a run that was stopped on request.

    Args:
        status: The exit status: 128 + the number of the signal.
        run: The run folder, if it has a checkpoint.
        step: The step of its `last.ckpt`.
    """

    def __init__(self, status: int, run: Path | None = None, step: int = 0) -> None:
        super().__init__(status)
        self.run, self.step = run, step


class StopSignals:
    """A context in which SIGTERM, SIGINT, SIGHUP and, under SLURM, SIGUSR1 (as a SIGTERM) request a stop of the run.

    If `deferred`, they only set `received`, otherwise they also raise `Stopped`. A second SIGINT raises
    KeyboardInterrupt. Ignored signals stay ignored. Outside the main thread, in which alone Python handles signals, the
    context has no effect, nor if `active` is False.
    """

    def __init__(self, active: bool = True) -> None:
        self.active = active
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
        """Installs the handlers, also after other code has replaced them."""
        if not self.active or threading.current_thread() is not threading.main_thread():
            return
        for number in _numbers():
            handler = signal.getsignal(number)
            if handler not in (signal.SIG_IGN, self._note):
                self._previous.setdefault(number, handler)
                signal.signal(number, self._note)

    @property
    def status(self) -> int:
        """The exit status: 128 + the number of the signal received on this rank or another."""
        return 128 + (self.received or signal.SIGTERM)

    def _note(self, number: int, _: Any) -> None:
        if os.getpid() != self._process:  # a data-loading worker
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
    """Ends training on a request of `signals` or at the time limit.

    After a signal, `last.ckpt` is written and `Stopped` is raised; in a validation, the checkpoint records that it is
    pending. After `seconds` of training in this process (None for no limit), `last.ckpt` is written and training ends
    as after its last step, but without an additional validation.
    """

    def __init__(self, signals: StopSignals, checkpoint: RunCheckpoint, seconds: float | None = None) -> None:
        self.signals, self.checkpoint, self.seconds = signals, checkpoint, seconds
        self.out_of_time = False
        self._began = 0.0

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.signals.install()  # Lightning's handlers call collectives

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
        """Leaves the validation of a fit on request, on all ranks together."""
        loop: Any = trainer.fit_loop.epoch_loop
        if loop.states_before is not None and self._asked(trainer, bool(self.signals.received)):
            loop.owed_in_epoch = trainer.current_epoch
            self._stop(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        loop: Any = trainer.fit_loop.epoch_loop
        if loop.owed_in_epoch is not None and loop.states_before is not None:
            checkpoint["callbacks"] = (
                loop.states_before
            )  # ranks that have completed their part of the validation repeat it

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.signals.deferred = False
        if self._asked(trainer, bool(self.signals.received)):  # since the last step, as while the report was written
            self._stop(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.signals.deferred = False

    def _asked(self, trainer: Trainer, here: bool) -> bool:
        return trainer.strategy.reduce_boolean_decision(here, all=False)

    def _stop(self, trainer: Trainer) -> None:
        self.checkpoint.save_last(trainer)
        raise Stopped(self.signals.status, run_folder(trainer), trainer.global_step)


def looking(trainer: Trainer) -> Progress:
    """A progress callback for samples in a validation: the run may stop after each step, on a single rank."""
    stops = _stops(trainer)

    def look(done: int, total: int) -> None:
        if trainer.world_size == 1:
            for stop in stops:
                stop.look(trainer)

    return look


def out_of_time(trainer: Trainer) -> bool:
    """Whether training ended at its time limit."""
    return any(stop.out_of_time for stop in _stops(trainer))


def _stops(trainer: Trainer) -> list[StopOnRequest]:
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    return [callback for callback in callbacks if isinstance(callback, StopOnRequest)]
