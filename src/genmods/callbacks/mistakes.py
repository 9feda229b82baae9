"""Where a classifier errs: the confusion matrix, and the validation images with the largest loss.

The logits are read off as validation computes them, so that this costs no second pass.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from genmods.callbacks.shared import is_validating_a_fit
from genmods.errors import UserError
from genmods.tracking.base import logbook, write_json
from genmods.visual.picture import to_picture


class Mistakes(Callback):
    """Writes `confusion.json` and draws the `shown` worst validation images; the loggers get both as tables."""

    def __init__(self, shown: int = 32) -> None:
        if shown < 1:
            raise ValueError(f"shown must be at least 1, not {shown}")
        self.shown = shown
        self._logits: Tensor | None = None
        self._worst: list[tuple[float, int, int, Tensor]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not hasattr(pl_module, "confusion"):
            raise UserError(f"the callback mistakes needs a classification task, not {type(pl_module).__name__}")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._worst = []
        self._handle = pl_module.network.register_forward_hook(self._keep)  # type: ignore[union-attr]

    def _keep(self, network: nn.Module, inputs: Any, output: Tensor) -> None:
        if self._logits is None:
            self._logits = output.detach()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        logits, self._logits = self._logits, None
        if logits is None or len(logits) != len(batch["label"]):
            return
        losses = cross_entropy(logits.float(), batch["label"], reduction="none")
        top = losses.topk(min(self.shown, len(losses)))
        rows = zip(top.values.tolist(), top.indices.tolist(), strict=True)
        found = [(loss, int(batch["label"][i]), int(logits[i].argmax()), batch["image"][i].cpu()) for loss, i in rows]
        self._worst = sorted(self._worst + found, key=lambda row: -row[0])[: self.shown]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._handle.remove()
        if not is_validating_a_fit(trainer) or not trainer.is_global_zero:
            return
        names: list[str] = list(pl_module.class_names)  # type: ignore[arg-type]
        counts: Any = pl_module.confusion_counts
        matrix = counts.tolist()
        book = logbook(trainer)
        write_json(book.folder / "confusion.json", {"step": book.step + 1, "class_names": names, "counts": matrix})
        book.rows("val/confusion", ["true", *names], [[n, *row] for n, row in zip(names, matrix, strict=True)])
        if self._worst:
            picture = to_picture(torch.stack([image for *_, image in self._worst]), columns=8)
            book.picture("worst", picture)
            rows = [
                [to_picture(image[None], 1), names[true], names[said], loss] for loss, true, said, image in self._worst
            ]
            book.rows("val/worst", ["image", "true", "said", "loss"], rows)
