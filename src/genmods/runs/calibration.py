"""Calibration after training: the model of each checkpoint is fitted to the validation images.

Training invalidates a calibration, so it is done once, at the end, with the weights that loading the checkpoint would
use. It is saved with both the raw and the averaged weights.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from genmods.core import checkpoint as files
from genmods.core.batch import Batch
from genmods.core.errors import UserError
from genmods.core.plain import not_finite
from genmods.core.printable import say
from genmods.data.base import DataModule
from genmods.models import Calibrates, model_of
from genmods.runs.checkpoint import Checkpoint
from genmods.tasks.base import Task


@rank_zero_only
def calibrate(task: Task, folder: Path, data: DataModule, trainer: Trainer) -> None:
    """Calibrate the checkpoints of `task` in `folder`, on the device and in the precision of fit.

    A damaged one, such as an older checkpoint of a resumed run, is reported and not changed.
    No-op for a model without calibration, or without validation images.
    """
    if not isinstance(model_of(task), Calibrates) or "val" not in data.splits:
        return
    for path in sorted(folder.glob("*.ckpt")):
        try:
            saved = Checkpoint.read(path)
        except UserError as error:
            say(error, file=sys.stderr)
            continue
        model = saved.model()
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            fitted = model.calibrate(validation_batches(data, model.to(trainer.strategy.root_device).device))
        for name, _ in not_finite(fitted):
            raise UserError(f"{path}: the calibration's {name} is not finite; nothing was overwritten")
        for weights in (saved.content["state_dict"], *saved.content.get("ema", {}).get("weights", [])):
            weights |= {saved.prefix + name: value.to(weights[saved.prefix + name]) for name, value in fitted.items()}
        files.save(saved.content, path)


def validation_batches(data: DataModule, device: torch.device) -> Iterator[Batch]:
    """The validation data, sorted, not distributed over the ranks."""
    rows = data.splits["val"]
    for indices in torch.arange(len(rows)).split(data.batch_size):
        yield {key: value.to(device) for key, value in data.prepare(rows.batch(indices)).items()}
