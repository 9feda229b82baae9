"""Calibration after training: the model of each checkpoint is fitted to the validation images.

Training invalidates a calibration, so it is done once, at the end, with the weights that loading the checkpoint would
use. It is saved with both the raw and the averaged weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from genmods.core import checkpoint as files
from genmods.core.batch import Batch
from genmods.core.errors import UserError
from genmods.core.plain import not_finite
from genmods.data.base import DataModule
from genmods.models import Calibrates, model_of
from genmods.runs.checkpoint import Checkpoint
from genmods.tasks.base import Task


@rank_zero_only
def calibrate(task: Task, folder: Path, data: DataModule, trainer: Trainer) -> None:
    """Calibrate the checkpoints of `task` in `folder`, on the device and in the precision of fit.

    No-op for a model without calibration, or without validation images.
    """
    if not isinstance(model_of(task), Calibrates) or "val" not in data.splits:
        return
    for path in sorted(folder.glob("*.ckpt")):
        checkpoint = files.load(path)
        saved = Checkpoint.of(checkpoint)
        model = saved.model()
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            fitted = model.calibrate(validation_batches(data, model.to(trainer.strategy.root_device).device))
        for name, _ in not_finite(fitted):
            raise UserError(f"{path}: the calibration's {name} is not finite; nothing was overwritten")
        for weights in (checkpoint["state_dict"], *checkpoint.get("ema", {}).get("weights", [])):
            weights |= {saved.prefix + name: value.to(weights[saved.prefix + name]) for name, value in fitted.items()}
        files.save(checkpoint, path)


def validation_batches(data: DataModule, device: torch.device) -> Iterator[Batch]:
    """The validation data, sorted, not distributed over the ranks."""
    rows = data.splits["val"]
    for indices in torch.arange(len(rows)).split(data.batch_size):
        yield {key: value.to(device) for key, value in data.prepare(rows.batch(indices)).items()}
