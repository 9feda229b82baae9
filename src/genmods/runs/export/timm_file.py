"""The weights of a timm classifier under timm's names, for `timm.create_model(..., checkpoint_path=...)`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from genmods.core import safetensors
from genmods.core.errors import UserError
from genmods.networks.adapters.timm import TimmNetwork
from genmods.networks.base import outermost_networks
from genmods.runs.checkpoint import Checkpoint


def export_timm(checkpoint: Checkpoint, path: Path, raw: bool = False) -> None:
    """Write the weights of the network `timm` of a checkpoint as a safetensors file with timm's keys.

    The metadata contain the architecture, its arguments in timm, and mean and standard deviation of its input for
    images in [0, 1].

    Raises:
        UserError: If the model has another network.
    """
    model: Any = checkpoint.model(raw)
    networks = outermost_networks(model)
    network = networks[0] if len(networks) == 1 else None
    if not isinstance(network, TimmNetwork):
        names = ", ".join(type(one).__name__ for one in networks) or "none"
        raise UserError(f"{checkpoint.source}: only the network timm has weights under timm's names, got {names}")
    weights = {name: value.contiguous().clone() for name, value in network.model.state_dict().items()}
    mean, std = ([value.item() for value in getattr(model, name).flatten()] for name in ("mean", "std"))
    metadata = {
        "format": "pt",
        "architecture": checkpoint.recipe["task"]["network"]["architecture"],
        "num_classes": str(len(model.class_names)),
        "class_names": json.dumps(model.class_names),
        "mean": json.dumps([(m + 1) / 2 for m in mean]),
        "std": json.dumps([s / 2 for s in std]),
    }
    safetensors.write(weights, path, metadata)
