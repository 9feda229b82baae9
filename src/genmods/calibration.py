"""Temperature scaling as the step after training: each checkpoint of a classifier gets the temperature of its weights.

Training moves the weights and makes every temperature stale, so it is fitted once, at the end, to the validation images
and with the weights that the checkpoint would be loaded with. It stands beside the raw and the averaged weights.
"""

from __future__ import annotations

from pathlib import Path

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor

from genmods import checkpoint as files
from genmods import runs
from genmods.data.images import Images, to_float
from genmods.metrics.calibration import fit_temperature
from genmods.tasks.classification import ClassificationTask


@rank_zero_only
def calibrate(folder: Path, images: Images, levels: int, batch_size: int) -> None:
    """Fit the temperature of the classifiers in the checkpoints in `folder` to labelled validation `images`.

    A classifier that makes no mistake on them keeps the temperature 1: they cannot tell how sure it ought to be.
    """
    for path in sorted(folder.glob("*.ckpt")):
        checkpoint = files.load(path)
        task = runs.restore(checkpoint)
        assert isinstance(task, ClassificationTask) and images.labels is not None
        scores = all_scores(task, images.pixels, levels, batch_size)
        mistaken = bool((scores.argmax(1) != images.labels).any())
        temperature = fit_temperature(scores, images.labels) if mistaken else 1.0
        for weights in (checkpoint["state_dict"], *checkpoint.get("ema", {}).get("weights", [])):
            weights["temperature"] = torch.full_like(weights["temperature"], temperature)
        files.save(checkpoint, path)


@torch.no_grad()
def all_scores(task: ClassificationTask, pixels: Tensor, levels: int, batch_size: int) -> Tensor:
    """What `task` says of uint8 images [N, C, H, W]: log-probabilities [N, K] before the temperature, on the CPU."""
    task.to("cuda" if torch.cuda.is_available() else "cpu")
    batches = pixels.split(batch_size)
    return torch.cat([task.scores(to_float(batch, levels).to(task.device)).cpu() for batch in batches])
