"""The entries that genmods adds to the checkpoints of a run."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from genmods.data.info import DataInfo
from genmods.data.preparation import Preparation


class RunContents(Callback):
    """Stores the recipe and the facts of the data in each checkpoint, so that it can be loaded without the run's files.

    Args:
        recipe: The resolved recipe as plain data.
        data_info: The facts of the data.
        data_hash: Hash of the data's images and labels.
        run_ids: The run's id in each of its loggers, by logger name.
        split_sizes: Number of samples of each split.
        preparation: How image files were prepared; None for other data.
    """

    def __init__(
        self,
        recipe: dict[str, Any],
        data_info: DataInfo,
        data_hash: str,
        run_ids: dict[str, str | None],
        split_sizes: dict[str, int],
        preparation: Preparation | None = None,
    ) -> None:
        self.plain = {
            "recipe": recipe,
            "data_info": data_info.plain(),
            "preparation": None if preparation is None else preparation.plain(),
            "data_hash": data_hash,
            "run_ids": run_ids,
            "split_sizes": split_sizes,
        }

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint.update(self.plain | {"precision": trainer.precision})
