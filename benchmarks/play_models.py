"""Rebuilds the models that come with genmods for `genmods play`: recipes `ddpm` and `cnn` on digits, in float16.

    python benchmarks/play_models.py [DDPM_RUN CNN_RUN]

Without runs, both recipes are trained first (three minutes of two CPU cores). Prints what the models achieve.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

import genmods
from genmods.core import safetensors
from genmods.data.images import to_float
from genmods.data.module import ImageData
from genmods.data.sources.digits import Digits
from genmods.play.library import MODELS
from genmods.runs.checkpoint import Checkpoint
from genmods.runs.export.file import header
from genmods.runs.folders import find_checkpoint

EMA = {"ddpm": {"name": "ema", "decays": [0.998]}, "cnn": {"name": "ema", "decays": [0.99]}}
SAMPLES = 1000


def trained(recipe: str) -> Path:
    """The folder of a new run of a recipe, with averaged weights and no pictures."""
    return genmods.fit(recipe, callbacks=[EMA[recipe]], logger="csv").folder


def write(run: str | Path, path: Path) -> None:
    """Write the averaged weights of a run in float16."""
    checkpoint = Checkpoint.read(find_checkpoint(run))
    weights = {name: w.half() if w.is_floating_point() else w for name, w in checkpoint.weights().items()}
    safetensors.save(header(checkpoint), weights, path)
    print(f"{path.name}: {path.stat().st_size:,} bytes")


def main(runs: list[str]) -> None:
    for recipe, name, run in zip(("ddpm", "cnn"), ("diffusion", "classifier"), runs or [None, None], strict=True):
        write(run or trained(recipe), MODELS / f"{name}.safetensors")
    diffusion, classifier = (genmods.load(MODELS / f"{name}.safetensors") for name in ("diffusion", "classifier"))
    pixels, labels = ImageData(Digits()).arrays("test")
    right = classifier.probabilities(to_float(pixels, 17)).argmax(1) == labels
    print(f"test accuracy of the classifier: {right.float().mean():.4f} of {len(labels)}")
    found = classifier.probabilities(diffusion.sample(SAMPLES)).argmax(1)
    wanted = torch.arange(SAMPLES) % 10
    print(f"samples classified as requested: {(found == wanted).float().mean():.4f} of {SAMPLES}")


if __name__ == "__main__":
    main(sys.argv[1:])
