"""Temperature scaling as the step after training: each checkpoint of a classifier gets the temperature of its weights.

Training moves the weights and makes every temperature stale, so it is fitted once, at the end, to the validation images
and with the weights that the checkpoint would be loaded with. It stands beside the raw and the averaged weights.
"""

from __future__ import annotations

from pathlib import Path

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor

from genmods.core import checkpoint as files
from genmods.data.images import to_float
from genmods.data.module import ImageData
from genmods.metrics.calibration import fit_temperature
from genmods.runs import folders
from genmods.tasks.classification import ClassificationTask, set_temperature


@rank_zero_only
def calibrate(folder: Path, data: ImageData, trainer: Trainer) -> None:
    """Fit the temperature of the classifiers in the checkpoints in `folder`, on the device and in the precision of fit.

    A classifier that makes no mistake on the validation images keeps the temperature 1: they cannot tell how sure it
    ought to be.
    """
    labels = data.splits["val"].labels
    for path in sorted(folder.glob("*.ckpt")):
        checkpoint = files.load(path)
        task = folders.restore(checkpoint)
        assert isinstance(task, ClassificationTask) and labels is not None
        scores = validation_scores(task, data, trainer)
        temperature = fit_temperature(scores, labels) if (scores.argmax(1) != labels).any() else 1.0
        set_temperature(checkpoint, temperature)
        files.save(checkpoint, path)


@torch.no_grad()
def validation_scores(task: ClassificationTask, data: ImageData, trainer: Trainer) -> Tensor:
    """What `task` says of the validation images: log-probabilities [N, K] before the temperature, on the CPU."""
    device = trainer.strategy.root_device
    task.to(device)
    batches = data.splits["val"].pixels.split(data.batch_size)
    with trainer.precision_plugin.forward_context():
        return torch.cat([task.scores(to_float(batch, data.source.levels).to(device)).cpu() for batch in batches])
