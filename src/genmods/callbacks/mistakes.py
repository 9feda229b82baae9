"""Mistakes of a classifier: the confusion matrix, and the validation images with the largest loss.

Both are based on the predictions that the metrics use, over all views and ranks.
"""

from __future__ import annotations

import torch
from lightning.pytorch import Callback, Trainer
from torch.nn.functional import nll_loss

from genmods.callbacks.class_report import Shown
from genmods.callbacks.intervals import is_validating_a_fit
from genmods.callbacks.requirement import Requiring
from genmods.core.settings import Count, Validated
from genmods.metrics.classification import Classification
from genmods.tracking.base import logbook, write_json
from genmods.visual.picture import to_picture


class Mistakes(Requiring, Validated, Callback):
    """Writes `confusion.json` and a picture of the `shown` worst validation images, and logs both as tables."""

    requires = "probabilities"

    def __init__(self, shown: Count = 32) -> None:
        self.shown = shown

    def on_evaluation_result(self, trainer: Trainer, stage: str, result: object) -> None:
        if isinstance(result, Classification) and is_validating_a_fit(trainer) and trainer.is_global_zero:
            self._write(trainer, result)

    def _write(self, trainer: Trainer, result: Classification) -> None:
        names, counts = result.class_names, result.counts.tolist()
        book = logbook(trainer)
        write_json(book.folder / "confusion.json", {"step": book.step + 1, "class_names": names, "counts": counts})
        book.rows("val/confusion", ["true", *names], [[n, *row] for n, row in zip(names, counts, strict=True)])
        scores, labels, index = result.scores, result.labels, result.index
        losses = nll_loss(scores, labels, reduction="none")
        worst = losses.topk(min(self.shown, len(losses))).indices.tolist()
        images = Shown.of(trainer, "val", index)
        book.picture("worst", to_picture(torch.stack([images[i] for i in worst]), columns=8))
        rows = [
            [
                to_picture(images[i][None], 1),
                images.names[i],
                names[labels[i]],
                names[scores[i].argmax()],
                float(losses[i]),
            ]
            for i in worst
        ]
        book.rows("val/worst", ["image", "file", "true", "predicted", "loss"], rows)
