"""What `validate` and `test` find out about a classifier, as pictures.

The confusion matrix, the most certain mistakes, and the reliability before and after the temperature: `val_confusion`,
`test_worst` ... in the run folder's `samples`, in the loggers and in the report.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from genmods.data.images import to_float
from genmods.metrics.calibration import reliability
from genmods.tasks.classification import ClassificationTask
from genmods.tracking.base import logbook


@dataclass
class Shown:
    """Image i [C, H, W] in [-1, 1] of what was answered in an evaluation, converted when it is asked for."""

    pixels: Tensor
    index: Tensor
    levels: int

    @classmethod
    def of(cls, trainer: Trainer, split: str, index: Tensor) -> Shown:
        """The images number `index` (int64 [N]) of a split of the trainer's data."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        return cls(data.splits[split].pixels, index, data.source.levels)

    def __getitem__(self, i: int) -> Tensor:
        return to_float(self.pixels[self.index[i]], self.levels)


class ClassReport(Callback):
    """Draws the pictures after an evaluation outside of a fit, on rank 0; other tasks than classification have none."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "validate":
            self._draw(trainer, pl_module, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer, pl_module, "test")

    def _draw(self, trainer: Trainer, task: LightningModule, split: str) -> None:
        if not isinstance(task, ClassificationTask) or not trainer.is_global_zero:
            return
        from PIL import Image

        from genmods.visual.classes import confusion_matrix, reliability_diagram, worst_mistakes
        from genmods.visual.style import as_image  # matplotlib, which a fit does not need

        scores, labels, index = task.answered
        probabilities, temperature = task.calibrated(scores), float(task.temperature)
        shown = Shown.of(trainer, split, index)
        tables = {"before": reliability(scores.exp(), labels)}
        if temperature != 1:
            tables[f"after, T = {temperature:.2f}"] = reliability(probabilities, labels)
        pictures = {
            "confusion": confusion_matrix(task.confusion_counts, task.class_names),
            "worst": worst_mistakes(shown, labels, probabilities, task.class_names),
            "reliability": reliability_diagram(tables),
        }
        book = logbook(trainer)
        for name, picture in pictures.items():
            path = book.picture(f"{split}_{name}", Image.fromarray(as_image(picture, 160).permute(1, 2, 0).numpy()))
            print(f"{name:<11} {path}", file=sys.stderr)
