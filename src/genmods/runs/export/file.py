"""Export of models as safetensors files, with the recipe of the task in the header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genmods.core import safetensors
from genmods.runs.checkpoint import Checkpoint
from genmods.runs.schema import SECTIONS


def header(checkpoint: Checkpoint) -> dict[str, Any]:
    """What `genmods.load` needs besides the weights, and what is known of the training data, as plain data."""
    return {
        "recipe": {name: checkpoint.recipe[name] for name in SECTIONS},
        "data_info": checkpoint.data_info.plain(),
        "preparation": None if checkpoint.preparation is None else checkpoint.preparation.plain(),
        "global_step": checkpoint.step,
        "data_hash": checkpoint.data_hash,
        "split_sizes": checkpoint.split_sizes,
    }


def export(checkpoint: Checkpoint, path: Path, raw: bool = False) -> None:
    """Write the averaged weights of a checkpoint (or the `raw` ones), with the metadata for `genmods.load`."""
    safetensors.save(header(checkpoint), checkpoint.weights(raw), path)
