"""Pictures of `validate` and `test` for a classifier.

The confusion matrix, the most confident mistakes, and reliability diagrams before and after temperature scaling:
`val_confusion`, `test_worst` ... in the run folder's `samples`, the loggers and the report. `test_mistakes.csv` lists
all mistakes.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lightning.pytorch import Callback, Trainer
from torch import Tensor

from genmods.core.atomic import replacing
from genmods.core.batch import INPUT
from genmods.core.printable import cell, say
from genmods.core.settings import Validated
from genmods.data.base import DataModule
from genmods.metrics.calibration import reliability
from genmods.metrics.classification import Classification
from genmods.tracking.base import logbook


@dataclass
class Shown:
    """The images of an evaluation: image i [C, H, W] in [-1, 1], loaded on access, and the `names` of all."""

    data: DataModule
    split: str
    index: Tensor

    @classmethod
    def of(cls, trainer: Trainer, split: str, index: Tensor) -> Shown:
        """The samples with indices `index` (int64 [N]) of a split of the trainer's data."""
        return cls(trainer.datamodule, split, index)  # type: ignore[attr-defined]

    def __getitem__(self, i: int) -> Tensor:
        batch = self.data.splits[self.split].batch(self.index[i : i + 1])
        return self.data.show(self.data.prepare(batch)[INPUT])[0]

    @cached_property
    def names(self) -> list[str]:
        """The file name, or the index, of each image."""
        names = self.data.names(self.split)
        return [names[i] for i in self.index.tolist()]


class ClassReport(Validated, Callback):
    """Draws the pictures on rank 0 after an evaluation of a classifier outside a fit."""

    def on_evaluation_result(self, trainer: Trainer, stage: str, result: object) -> None:
        if isinstance(result, Classification) and trainer.state.fn != "fit" and trainer.is_global_zero:
            self._draw(trainer, stage, result)

    def _draw(self, trainer: Trainer, split: str, result: Classification) -> None:
        from PIL import Image

        from genmods.visual.classes import confusion_matrix, reliability_diagram, worst_mistakes
        from genmods.visual.style import as_image  # matplotlib, which a fit does not need

        labels, probabilities, names = result.labels, result.probabilities, result.class_names
        shown = Shown.of(trainer, split, result.index)
        tables = {"before": reliability(result.scores.exp(), labels)}
        if result.temperature != 1:
            tables[f"after, T = {result.temperature:.2f}"] = reliability(probabilities, labels)
        pictures = {
            "confusion": confusion_matrix(result.counts, names),
            "worst": worst_mistakes(shown, labels, probabilities, names, shown.names),
            "reliability": reliability_diagram(tables),
        }
        book = logbook(trainer)
        for name, picture in pictures.items():
            path = book.picture(f"{split}_{name}", Image.fromarray(as_image(picture, 160).permute(1, 2, 0).numpy()))
            say(f"{name:<11} {path}", file=sys.stderr)
        table = book.folder / f"{split}_mistakes.csv"
        _write_mistakes(table, result, shown.names)
        say(f"{'mistakes':<11} {table}", file=sys.stderr)


def _write_mistakes(path: Path, result: Classification, images: list[str]) -> None:
    """Write all mistakes, most confident first: image, true class, predicted class and its probability."""
    names, (certainty, answer) = list(map(cell, result.class_names)), result.probabilities.max(1)
    with replacing(path) as staged, staged.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", "true", "class", "probability"])
        for i in result.mistakes():
            writer.writerow([cell(images[i]), names[result.labels[i]], names[answer[i]], f"{certainty[i]:.6f}"])
