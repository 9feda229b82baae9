"""Safetensors files that carry plain data of genmods in their header."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from genmods.core.errors import UserError


def save(header: dict[str, Any], tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors of any shape by name, with `header` as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, path, {"genmods": json.dumps(header)})


def load(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors, in their shapes, of a file of `save`; raises UserError for another file."""
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get("genmods")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({str(error)[:100]})") from None
    if header is None:
        raise UserError(f"{path}: not a model that genmods exported")
    return json.loads(header), tensors
