"""A run whose loss is not finite stops."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from genmods.core.errors import UserError


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
