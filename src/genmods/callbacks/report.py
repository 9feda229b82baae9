"""Updates `report.html` during training."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule, Trainer

from genmods.report.page import write_report
from genmods.tracking.base import run_folder


class Report(Callback):
    """Writes the report on rank 0 after each validation and at the end, if there are metrics."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        folder = run_folder(trainer)
        if trainer.is_global_zero and trainer.state.fn == "fit" and (folder / "metrics.csv").is_file():
            write_report([folder])
