"""What `validate` and `test` of a restoration show beside their figures: a few images, what was measured of them, and
what was made of it.
"""

from __future__ import annotations

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.nn.functional import interpolate

from genmods.tasks.restoration import RestorationTask
from genmods.tracking.base import logbook
from genmods.visual.picture import to_picture


class RestorationReport(Callback):
    """Draws the first images of an evaluation, on rank 0; other tasks than restoration have none."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer, pl_module, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer, pl_module, "test")

    def _draw(self, trainer: Trainer, task: LightningModule, split: str) -> None:
        if not isinstance(task, RestorationTask) or not trainer.is_global_zero or not task.first:
            return
        index, clean, measured, restored, fidelity = (torch.stack(part).cpu() for part in zip(*task.first, strict=True))
        measured = interpolate(measured.float(), clean.shape[-2:])
        columns = [images.float() for images in (clean, measured, restored)]
        book = logbook(trainer)
        book.picture(f"{split}_restored", to_picture(torch.cat(columns), columns=len(clean)))
        rows = [
            [number, *(to_picture(image[None], 1) for image in images), db]
            for number, db, *images in zip(index.tolist(), fidelity.tolist(), *columns, strict=True)
        ]
        book.rows(f"{split}/restored", ["number", "clean", "measured", "restored", "psnr"], rows)
