"""Models as safetensors files: the weights that are used, with the recipe of the task in the file's header."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from genmods.callbacks.ema import apply_average
from genmods.core.errors import UserError

_SECTIONS = ("name", "seed", "task", "data")


def write(checkpoint: dict[str, Any], path: Path, raw: bool = False) -> None:
    """Write the averaged weights of a checkpoint (or the `raw` ones), and what `genmods.load` needs beside them."""
    state = checkpoint["state_dict"] if raw else apply_average(checkpoint["state_dict"], checkpoint)
    header = {
        "recipe": {name: checkpoint["recipe"][name] for name in _SECTIONS},
        "facts": checkpoint["facts"],
        "global_step": checkpoint["global_step"],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path, {"genmods": json.dumps(header)})


def read(path: Path) -> dict[str, Any]:
    """The checkpoint in a file of `write`, ready for `folders.restore`; raises UserError for another file."""
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get("genmods")
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({str(error)[:100]})") from None
    if header is None:
        raise UserError(f"{path}: not a model that genmods exported")
    return {**json.loads(header), "state_dict": state}
