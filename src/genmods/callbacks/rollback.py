"""Rollback of weights, averages and optimizer to an earlier checkpoint of the run, without repeating batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lightning.pytorch import LightningModule, Trainer

from genmods.core import checkpoint as files


@runtime_checkable
class RollsBack(Protocol):
    """A callback with averages of the weights."""

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the averages to `checkpoint`."""
        ...

    def roll_back(self, checkpoint: dict[str, Any]) -> None:
        """Restores the averages of a checkpoint of the same run."""
        ...


def roll_back(trainer: Trainer, path: Path) -> int:
    """Restores weights, buffers, averages and the optimizer's state from the checkpoint `path` of this run.

    Learning rates, the order of the data and the number of steps continue unchanged. Returns the step of the
    checkpoint. Raises UserError if it cannot be read.
    """
    content = files.load(path)
    trainer.lightning_module.load_state_dict(content["state_dict"])
    for optimizer, saved in zip(trainer.optimizers, content["optimizer_states"], strict=True):
        optimizer.load_state_dict({"state": saved["state"], "param_groups": optimizer.state_dict()["param_groups"]})
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, RollsBack):
            callback.roll_back(content)
    return int(content["global_step"])
