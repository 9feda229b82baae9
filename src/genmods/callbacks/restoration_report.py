"""Pictures of `validate` and `test` for a restoration task: a few clean, measured and restored images."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.functional import interpolate

from genmods.tracking.base import logbook
from genmods.visual.picture import to_picture

SHOWN = 8
PARTS = ("index", "clean", "measured", "restored", "psnr")


class RestorationReport(Callback):
    """Draws the first images of an evaluation whose steps return `PARTS` on rank 0."""

    def __init__(self) -> None:
        self._first: list[tuple[Tensor, ...]] = []

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._first = []

    on_test_start = on_validation_start

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self._keep(outputs)

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self._keep(outputs)

    def _keep(self, outputs: Any) -> None:
        left = SHOWN - len(self._first)
        if left > 0 and isinstance(outputs, dict) and outputs.keys() >= set(PARTS):
            self._first += zip(*(outputs[name][:left] for name in PARTS), strict=True)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer, "test")

    def _draw(self, trainer: Trainer, split: str) -> None:
        if not self._first or not trainer.is_global_zero:
            return
        index, clean, measured, restored, fidelity = (
            torch.stack(part).cpu() for part in zip(*self._first, strict=True)
        )
        measured = interpolate(measured.float(), clean.shape[-2:])
        columns = [images.float() for images in (clean, measured, restored)]
        book = logbook(trainer)
        book.picture(f"{split}_restored", to_picture(torch.cat(columns), columns=len(clean)))
        rows = [
            [number, *(to_picture(image[None], 1) for image in images), db]
            for number, db, *images in zip(index.tolist(), fidelity.tolist(), *columns, strict=True)
        ]
        book.rows(f"{split}/restored", ["number", "clean", "measured", "restored", "psnr"], rows)
