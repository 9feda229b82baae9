"""A run that stops well: on SIGTERM or Ctrl-C with a checkpoint, on a loss that is not finite without one."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from genmods.callbacks.checkpoint import RunCheckpoint
from genmods.core.errors import UserError
from genmods.core.lightning_internals import is_accumulating
from genmods.tracking.base import run_folder


class FiniteLoss(Callback):
    """Stops with UserError at a loss that is not finite and names the step.

    The check stays on the device and is read back every `READ_EVERY` steps, and at each step on the CPU.
    """

    READ_EVERY = 50

    def __init__(self) -> None:
        self.first: Tensor | None = None

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if loss is None:
            return
        step = loss.new_full((), trainer.global_step, dtype=torch.float32)
        here = torch.where(torch.isfinite(loss.detach()).all(), torch.inf, step)
        self.first = here if self.first is None else torch.minimum(self.first, here)
        if loss.device.type == "cpu" or trainer.global_step % self.READ_EVERY == 0:
            self.check()

    def check(self) -> None:
        """Read the check back from the device; raises UserError where a loss was not finite."""
        if self.first is not None and torch.isfinite(self.first):
            raise UserError(
                f"step {int(self.first)}: the loss is not finite; nothing was overwritten, "
                "try a lower learning rate or trainer.gradient_clip_val"
            )


_ASKED = 10


class Stopped(SystemExit):
    """The end of a run that was asked to stop: its folder, and the step of its `last.ckpt`."""

    def __init__(self, status: int, run: Path, step: int) -> None:
        super().__init__(status)
        self.run, self.step = run, step


class StopOnSignal(Callback):
    """On SIGTERM or SIGINT finishes the batch, saves `last.ckpt` and raises `Stopped` with status 128 + its number.

    The handlers only set a flag, and replace Lightning's, which call collectives; several ranks agree on the flag
    after every tenth step, since asking makes them wait for each other.
    """

    def __init__(self, checkpoint: RunCheckpoint) -> None:
        self.checkpoint = checkpoint
        self.received = 0
        self._previous: dict[int, Any] = {}

    def _note(self, number: int, _: Any) -> None:
        if self.received == signal.SIGINT == number:
            raise KeyboardInterrupt
        self.received = number

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._note)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if is_accumulating(trainer):  # gradients are not saved
            return
        if trainer.world_size > 1 and trainer.global_step % _ASKED:
            return
        if trainer.strategy.reduce_boolean_decision(bool(self.received), all=False):
            self.checkpoint.save_last(trainer)
            self._restore()
            raise Stopped(128 + (self.received or signal.SIGTERM), run_folder(trainer), trainer.global_step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restore()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()
