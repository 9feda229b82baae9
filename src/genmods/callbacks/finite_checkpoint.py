"""Prevents checkpoints with non-finite numbers in weights, buffers, averages or optimizer states."""

from __future__ import annotations

import re
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from genmods.callbacks.rollback import RollsBack
from genmods.core.errors import UserError
from genmods.core.plain import is_born_so, not_finite


class FiniteCheckpoint(Callback):
    """Raises UserError instead of writing a checkpoint with non-finite numbers.

    Buffer entries that were not finite before training are accepted. Must come after all callbacks that add to a
    checkpoint.
    """

    def __init__(self) -> None:
        self._born: dict[str, Tensor] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        buffers = dict(pl_module.named_buffers())
        self._born = {name: buffers[name].detach().clone() for name, _ in not_finite(buffers)}

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if fault := self.fault(trainer, checkpoint):
            raise UserError(
                f"step {trainer.global_step}: {fault} is not finite; nothing was overwritten, "
                "try a lower learning rate or trainer.gradient_clip_val"
            )

    def fault(self, trainer: Trainer, checkpoint: dict[str, Any]) -> str:
        """The first tensor of `checkpoint` that is not finite, in words; empty if there is none."""
        for path, value in not_finite(checkpoint):
            if not is_born_so(value, self._born.get(re.sub(r"^(state_dict|ema\.weights\.\d+)\.", "", path))):
                return _description(path, trainer)
        return ""


def first_fault(trainer: Trainer) -> str:
    """A description of the first non-finite tensor of a checkpoint written now, or ""."""
    checkpoint: dict[str, Any] = {
        "state_dict": trainer.lightning_module.state_dict(),
        "optimizer_states": [optimizer.state_dict() for optimizer in trainer.optimizers],
    }
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    for average in (callback for callback in callbacks if isinstance(callback, RollsBack)):
        average.on_save_checkpoint(trainer, trainer.lightning_module, checkpoint)
    guards = (callback for callback in callbacks if isinstance(callback, FiniteCheckpoint))
    return next((fault for guard in guards if (fault := guard.fault(trainer, checkpoint))), "")


def _description(path: str, trainer: Trainer) -> str:
    """A description of a tensor of a checkpoint; parameters of the optimizer are given by name instead of number."""
    if match := re.fullmatch(r"optimizer_states\.(\d+)\.state\.(\d+)\.(.+)", path):
        optimizer = trainer.optimizers[int(match[1])]
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        names = {id(parameter): name for name, parameter in trainer.lightning_module.named_parameters()}
        return f"the optimizer's {match[3]} of {names.get(id(parameters[int(match[2])]), match[2])}"
    if match := re.fullmatch(r"ema\.weights\.\d+\.(.+)", path):
        return f"the average of {match[1]}"
    return path.removeprefix("state_dict.")
