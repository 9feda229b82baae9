"""Lightning's loop over the batches of an epoch, based on optimizer steps.

Lightning counts `val_check_interval` in batches, ends a group of accumulated batches with the epoch, and has no hook
after a complete step, including its row of metrics and its validation. This loop has such a hook.
"""

from __future__ import annotations

import copy
import math
from typing import Any, Protocol, runtime_checkable

from lightning.pytorch import Trainer
from lightning.pytorch.loops.progress import _BatchProgress
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.trainer.call import _call_callbacks_state_dict

from genmods.core.lightning_internals import is_last_step


@runtime_checkable
class EndsSteps(Protocol):
    """A callback with a hook between optimizer steps."""

    def on_step_end(self, trainer: Trainer) -> None:
        """Called after each optimizer step, after its row of metrics and its validation, if any."""
        ...


class StepLoop(_TrainingEpochLoop):
    """The epoch loop of a Trainer; see `install`.

    Validation runs every `val_check_interval` steps (an int: of the run if `check_val_every_n_epoch` is None, otherwise
    of the epoch; a float: that fraction of an epoch) and after the last step. A checkpoint always contains the state at
    the end of a step, and whether the validation of that step is pending.
    """

    def __init__(self, trainer: Trainer, min_steps: int | None, max_steps: int) -> None:
        self.owed_in_epoch: int | None = None
        """The epoch of a validation that is pending because the run was stopped; None if there is none."""
        super().__init__(trainer, min_steps, max_steps)
        self.trainer: Any = trainer
        self.batch_progress: Any = self.batch_progress
        self.states_before: dict[str, Any] | None = None
        """During a validation: the callbacks' states at its beginning."""
        self._validated = False

    @classmethod
    def install(cls, trainer: Trainer) -> None:
        """Install this loop in `trainer`, before it runs."""
        before = trainer.fit_loop.epoch_loop
        trainer.fit_loop.epoch_loop = cls(trainer, before.min_steps, before.max_steps)

    @property
    def done(self) -> bool:
        return super().done and not self._should_accumulate()  # training always ends with a complete step

    @property
    def max_steps(self) -> int:
        """Lightning's `max_steps`; not reached while the validation of the last step is pending."""
        return self._max_steps + 1 if self.owed_in_epoch is not None and self._max_steps != -1 else self._max_steps

    @max_steps.setter
    def max_steps(self, steps: int) -> None:
        """Set the number of steps."""
        self._max_steps = steps

    def hold_owed(self) -> None:
        """Runs the pending validation as if the run had not been stopped; called before the first batch."""
        if self.owed_in_epoch is None:
            return
        trainer, epoch = self.trainer, self.trainer.fit_loop.epoch_progress.current
        now, epoch.completed, self.owed_in_epoch = epoch.completed, self.owed_in_epoch, None
        self.val_loop.restarting = False
        self._begin_validation()
        trainer.validating = True
        self.val_loop.run()
        trainer.training = True
        trainer._logger_connector._first_loop_iter = None
        self.update_lr_schedulers("step", update_plateau_schedulers=True)
        epoch.completed = now
        self._end_step()

    def advance(self, data_fetcher: Any) -> None:
        self.restarting = False  # the position is restored
        super().advance(data_fetcher)
        connector = self.trainer._logger_connector
        if is_last_step(self.trainer) and not self._should_accumulate() and not connector.should_update_logs:
            connector.log_metrics(connector.metrics["log"])

    def on_advance_end(self, data_fetcher: Any) -> None:
        """Validate if due; then the step is complete."""
        super().on_advance_end(data_fetcher)
        if not self._should_accumulate():
            self._end_step()

    def update_lr_schedulers(self, interval: str, update_plateau_schedulers: bool) -> None:
        """Update plateau schedules once per validation."""
        if update_plateau_schedulers and not self._validated:
            return
        super().update_lr_schedulers(interval, update_plateau_schedulers)

    def state_dict(self, destination: dict[str, Any] | None = None, prefix: str = "") -> dict[str, Any]:
        """The state as in Lightning at the end of a batch, so that there is only one way to resume."""
        state = super().state_dict(destination, prefix)
        if self.batch_progress.total.processed:
            for count in state[f"{prefix}batch_progress"].values():
                if isinstance(count, dict):
                    count["completed"] = count["processed"] - 1
        state[f"{prefix}val_loop.batch_progress"] = _BatchProgress().state_dict()
        return state

    def on_save_checkpoint(self) -> dict[str, Any]:
        steps = self.batch_progress.total.processed // self.trainer.accumulate_grad_batches
        return {"_batches_that_stepped": max(0, steps - 1), "owed_in_epoch": self.owed_in_epoch}

    def on_load_checkpoint(self, state_dict: dict[str, Any]) -> None:
        super().on_load_checkpoint(state_dict)
        self.owed_in_epoch = state_dict.get("owed_in_epoch")

    def _should_check_val_fx(self, data_fetcher: Any) -> bool:
        due = self._due(data_fetcher)
        if due:
            self._begin_validation()
        return due

    def _due(self, data_fetcher: Any) -> bool:
        trainer = self.trainer
        if not trainer.enable_validation or self._should_accumulate():
            return False
        if is_last_step(trainer):
            return True
        interval, batches = trainer.val_check_interval, trainer.num_training_batches
        if trainer._val_check_time_interval is not None or trainer.should_stop or math.isinf(batches):
            return super()._should_check_val_fx(data_fetcher)
        group = trainer.accumulate_grad_batches
        if trainer.check_val_every_n_epoch is None:
            return self.batch_progress.total.ready // group % interval == 0
        every = interval if isinstance(interval, int) else max(1, int(batches // group * interval))
        return self._should_check_val_epoch() and self.batch_progress.current.ready // group % every == 0

    def _begin_validation(self) -> None:
        self._validated = True
        self.states_before = copy.deepcopy(_call_callbacks_state_dict(self.trainer))

    def _end_step(self) -> None:
        self._validated, self.states_before = False, None
        for callback in self.trainer.callbacks:
            if isinstance(callback, EndsSteps):
                callback.on_step_end(self.trainer)
