"""No checkpoint holds a number that is not finite: no weight, buffer, average, or state of the optimizer."""

from __future__ import annotations

import re
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from genmods.core.errors import UserError
from genmods.core.plain import is_born_so, not_finite


class FiniteCheckpoint(Callback):
    """Raises UserError instead of letting a checkpoint be written that holds a number that is not finite.

    Entries of buffers that are not finite before the training are let be. It comes after whatever adds to a checkpoint.
    """

    def __init__(self) -> None:
        self._born: dict[str, Tensor] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        buffers = dict(pl_module.named_buffers())
        self._born = {name: buffers[name].detach().clone() for name, _ in not_finite(buffers)}

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        for path, value in not_finite(checkpoint):
            if not is_born_so(value, self._born.get(re.sub(r"^(state_dict|ema\.weights\.\d+)\.", "", path))):
                raise UserError(
                    f"step {trainer.global_step}: {_told(path, trainer)} is not finite; nothing was overwritten, "
                    "try a lower learning rate or trainer.gradient_clip_val"
                )


def _told(path: str, trainer: Trainer) -> str:
    """What a tensor of a checkpoint is in words; the optimizer numbers its parameters, here they are named."""
    if match := re.fullmatch(r"optimizer_states\.(\d+)\.state\.(\d+)\.(.+)", path):
        optimizer = trainer.optimizers[int(match[1])]
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        names = {id(parameter): name for name, parameter in trainer.lightning_module.named_parameters()}
        return f"the optimizer's {match[3]} of {names.get(id(parameters[int(match[2])]), match[2])}"
    if match := re.fullmatch(r"ema\.weights\.\d+\.(.+)", path):
        return f"the average of {match[1]}"
    return path.removeprefix("state_dict.")
