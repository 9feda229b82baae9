"""What `test` of a restoration shows beside its figures: a few images, what was measured, and what was made of it."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.functional import interpolate

from genmods.metrics.fidelity import psnr
from genmods.tasks.restoration import RestorationTask
from genmods.tracking.base import logbook
from genmods.visual.picture import to_picture


class RestorationReport(Callback):
    """Draws the first `SHOWN` images of an evaluation, on rank 0; other tasks than restoration have none."""

    SHOWN = 8

    def __init__(self) -> None:
        self.batch: dict[str, Tensor] = {}

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx == 0:
            self.batch = {name: tensor[: self.SHOWN] for name, tensor in batch.items()}

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not isinstance(pl_module, RestorationTask) or not trainer.is_global_zero or not self.batch:
            return
        clean, index = self.batch["image"], self.batch["index"]
        with torch.no_grad():
            measured = pl_module.degrade(clean, index)
            restored = pl_module.restored(measured, index, self.batch["label"] if pl_module.use_label else None)
        measured = interpolate(measured.float(), clean.shape[-2:])
        book = logbook(trainer)
        columns = [images.float().cpu() for images in (clean, measured, restored)]
        book.picture("restored", to_picture(torch.cat(columns), columns=len(clean)))
        rows = [
            [
                int(i),
                *(to_picture(image[None], 1) for image in images),
                float(psnr(images[2][None], images[0][None])[0]),
            ]
            for i, images in zip(index, torch.stack(columns, dim=1), strict=True)
        ]
        book.rows("test/restored", ["number", "clean", "measured", "restored", "psnr"], rows)

    on_validation_batch_end, on_validation_end = on_test_batch_end, on_test_end
