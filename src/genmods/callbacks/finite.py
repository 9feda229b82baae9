"""Handling of steps with a non-finite loss or gradient: stop the run, skip the step, or roll back."""

from __future__ import annotations

import sys
from typing import Any, Literal, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor
from torch.optim import Optimizer

from genmods.callbacks.checkpoint import RunCheckpoint
from genmods.callbacks.finite_checkpoint import first_fault
from genmods.callbacks.intervals import is_validating_a_fit
from genmods.callbacks.rollback import roll_back
from genmods.core.batch import INDEX
from genmods.core.errors import UserError
from genmods.core.lightning_internals import batches_done, is_accumulating
from genmods.core.printable import say
from genmods.core.settings import Validated
from genmods.data.base import DataModule

_SHOWN, _MOST = 5, 10
_REMEDY = "try a lower learning rate or trainer.gradient_clip_val"


class _Seen(NamedTuple):
    """A batch: its step, whether its loss and the gradient of the step are finite (bool []), and its samples."""

    step: int
    loss: Tensor
    gradient: Tensor
    samples: Tensor | None
    error: Tensor | None
    log_snr: Tensor | None


class Finite(Validated, Callback):
    """Handles steps with a non-finite loss or gradient norm; added to every run with its defaults.

    The message contains the step, the samples and, for diffusion models, their noise levels. A gradient whose square
    overflows counts as non-finite unless it is clipped, because it makes the optimizer's second moment infinite. The
    check is computed on the device and read every 50 steps and before anything is saved; on the CPU, and with
    `skip_step`, in each step. float16 training already skips such steps.

    Args:
        on_nonfinite: "stop" ends the run and leaves its files unchanged. "skip_step" keeps weights, buffers and
            optimizer unchanged. "rollback" restores them and the averages from the last checkpoint written
            every `every_n_steps` steps, and continues with the next batch; it also handles non-finite buffers and
            averages. Both stop the run at the tenth consecutive time.
    """

    READ_EVERY = 50

    def __init__(self, on_nonfinite: Literal["stop", "skip_step", "rollback"] = "stop") -> None:
        self.on_nonfinite = on_nonfinite
        self.in_a_row, self.last = 0, -1
        self._begun = False
        self._seen: list[_Seen] = []
        self._loss: Tensor | None = None
        self._gradient: Tensor | None = None
        self._buffers: list[Tensor] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.on_nonfinite == "rollback" and stage == "fit":
            checkpoint = _checkpoint(trainer)
            checkpoint.keep = checkpoint.keep or 1

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if (
            self.on_nonfinite == "rollback"
            and not self._begun
            and _checkpoint(trainer).kept(trainer.global_step) is None
        ):
            _checkpoint(trainer).save_kept(trainer)
        self._begun = True
        if self.on_nonfinite == "skip_step" and batches_done(trainer) % trainer.accumulate_grad_batches == 0:
            self._buffers = [buffer.clone() for buffer in pl_module.buffers()]

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Records whether the `loss` [] of a batch is finite."""
        self._loss = torch.isfinite(loss.detach()).all()

    @torch.no_grad()
    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        trained = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if not trained or getattr(trainer.precision_plugin, "scaler", None) is not None:
            return
        order = 1 if trainer.gradient_clip_val else 2
        norms = torch._foreach_norm([p.grad for p in trained if p.grad is not None], order)
        self._gradient = torch.isfinite(torch.stack(norms)).all()
        if self.on_nonfinite == "skip_step" and self._any(trainer, not self._fine_so_far()):
            for parameter in trained:
                parameter.grad = None  # optimizers skip such parameters and their state
            for buffer, before in zip(pl_module.buffers(), self._buffers, strict=True):
                buffer.copy_(before)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss, self._loss = self._loss, None
        if loss is None:
            return
        gradient, self._gradient = self._gradient, None
        step = trainer.global_step + is_accumulating(trainer)
        found = outputs if isinstance(outputs, dict) else {}
        index = batch.get(INDEX) if isinstance(batch, dict) else None
        gradient = torch.ones_like(loss) if gradient is None else gradient
        self._seen.append(_Seen(step, loss, gradient, index, found.get("error"), found.get("log_snr")))
        if is_accumulating(trainer):
            return
        if _at_each_step(loss, self.on_nonfinite) or step % self.READ_EVERY == 0:
            self._act(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if is_validating_a_fit(trainer):
            self._before_saving(trainer)

    def on_step_end(self, trainer: Trainer) -> None:
        if _checkpoint(trainer).due(trainer):
            self._before_saving(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if fault := self._fault(trainer):
            raise UserError(f"{fault}; nothing was overwritten, {_REMEDY}")

    def state_dict(self) -> dict[str, Any]:
        return {"in_a_row": self.in_a_row, "last": self.last}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.in_a_row, self.last = state_dict["in_a_row"], state_dict["last"]

    def _before_saving(self, trainer: Trainer) -> None:
        self._act(trainer)
        if self.on_nonfinite == "rollback" and (fault := first_fault(trainer)):
            self._go_back(trainer, f"step {trainer.global_step}: {fault} is not finite")

    def _act(self, trainer: Trainer) -> None:
        """Reads the check from the device and applies `on_nonfinite`."""
        fault = self._fault(trainer)
        if not self._any(trainer, bool(fault)):
            return
        fault = fault or f"step {trainer.global_step}: the loss is not finite on another rank"
        if self.on_nonfinite == "stop":
            raise UserError(f"{fault}; nothing was overwritten, {_REMEDY}")
        if self.on_nonfinite == "rollback":
            self._go_back(trainer, fault)
            return
        self._count(self.last == trainer.global_step - 1, fault, "steps were skipped")
        self.last = trainer.global_step
        _print(f"{fault}; the step was skipped")

    def _go_back(self, trainer: Trainer, fault: str) -> None:
        path = _checkpoint(trainer).kept(trainer.global_step)
        if path is None:
            raise UserError(f"{fault}; there is no checkpoint to go back to")
        step = roll_back(trainer, path)
        self._count(self.last == step, fault, f"times the run went back to step {step}")
        self.last = step
        _print(f"{fault}; back to the weights of step {step}, with the batches after step {trainer.global_step}")

    def _count(self, again: bool, fault: str, what: str) -> None:
        self.in_a_row = self.in_a_row + 1 if again else 1
        if self.in_a_row == _MOST:
            raise UserError(f"{fault}; {_MOST} {what}, nothing was overwritten, {_REMEDY}")

    def _fine_so_far(self) -> bool:
        """Whether the losses of this step's batches and its gradient are finite; synchronises the device."""
        losses = [seen.loss for seen in self._seen] + [self._loss, self._gradient]
        return bool(torch.stack([value for value in losses if value is not None]).all())

    def _any(self, trainer: Trainer, here: bool) -> bool:
        return trainer.strategy.reduce_boolean_decision(here, all=False)

    def _fault(self, trainer: Trainer) -> str:
        """A description of the first non-finite step since the last call, or "". Synchronises the device."""
        seen, self._seen = self._seen, []
        if not seen:
            return ""
        fine = torch.stack([torch.stack([batch.loss, batch.gradient]) for batch in seen]).tolist()
        step = next((batch.step for batch, flags in zip(seen, fine, strict=True) if not all(flags)), None)
        if step is None:
            return ""
        batches = [(batch, loss) for batch, (loss, _) in zip(seen, fine, strict=True) if batch.step == step]
        bad = [batch for batch, loss in batches if not loss]
        what = "the loss" if bad else "the norm of the gradient"
        return f"step {step}: {what} is not finite{_samples(bad or [batch for batch, _ in batches], trainer)}"


def _at_each_step(loss: Tensor, on_nonfinite: str) -> bool:
    """Whether the check is read in each step: on the CPU, where it is free, and to skip a step immediately."""
    return loss.device.type == "cpu" or on_nonfinite == "skip_step"


def _samples(batches: list[_Seen], trainer: Trainer) -> str:
    """A description of the samples with a non-finite error, or of all samples, and their noise levels."""
    known = [batch for batch in batches if batch.samples is not None]
    if not known:
        return ""
    index = torch.cat([batch.samples for batch in known if batch.samples is not None]).cpu()
    levels, errors = (_column(known, name, len(index)) for name in ("log_snr", "error"))
    if errors is not None and not torch.isfinite(errors).all():
        chosen = ~torch.isfinite(errors)
        index, levels = index[chosen], None if levels is None else levels[chosen]
    data = trainer.datamodule  # type: ignore[attr-defined]
    names = data.names("train") if isinstance(data, DataModule) else None
    shown = [str(names[i]) if names else str(i) for i in index[:_SHOWN].tolist()]
    noise = "" if levels is None else f", log-SNR {', '.join(f'{level:.3g}' for level in levels[:_SHOWN].tolist())}"
    more = f" and {len(index) - _SHOWN} more" if len(index) > _SHOWN else ""
    return f" (samples {', '.join(shown)}{noise}{more})"


def _column(batches: list[_Seen], name: str, length: int) -> Tensor | None:
    values = [value for batch in batches if (value := getattr(batch, name)) is not None]
    together = torch.cat([value.detach().float().cpu() for value in values]) if values else None
    return together if together is not None and len(together) == length else None


def _checkpoint(trainer: Trainer) -> RunCheckpoint:
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    return next(callback for callback in callbacks if isinstance(callback, RunCheckpoint))


@rank_zero_only
def _print(line: str) -> None:
    say(line, file=sys.stderr)
