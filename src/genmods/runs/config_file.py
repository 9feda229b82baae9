"""`config.json` of an exported folder: the header of its `model.safetensors` as a file that people and tools can read.

The weights file is complete without it. Both are compared when the folder is loaded, so that a changed setting is
never ignored.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from genmods.core.atomic import replacing
from genmods.core.checkpoint import FORMAT, FORMAT_KEY, check_format
from genmods.core.errors import UserError

WEIGHTS, CONFIG = "model.safetensors", "config.json"
_MAX_BYTES = 50_000_000


def write_config(header: dict[str, Any], folder: Path) -> None:
    """Write `header` and the format version to `config.json` in `folder`, atomically."""
    with replacing(folder / CONFIG) as staged:
        staged.write_text(json.dumps({FORMAT_KEY: FORMAT, **header}, indent=1) + "\n", encoding="utf-8")


def check_config(weights: Path, header: dict[str, Any]) -> None:
    """Raise UserError unless the `config.json` next to a file `weights` agrees with the `header` of that file.

    Nothing is compared for a file with another name than `model.safetensors`, or without a `config.json`.
    """
    path = weights.with_name(CONFIG)
    if weights.name != WEIGHTS or not path.is_file():
        return
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError("too large")
        config = json.loads(path.read_bytes())
        found = config.pop(FORMAT_KEY, None)
    except (OSError, ValueError, RecursionError, AttributeError):
        raise UserError(f"{path}: not a configuration that genmods exported") from None
    check_format(path, found)
    for key in sorted({*config, *header}):
        if key not in config or key not in header or _text(config[key]) != _text(header[key]):
            raise UserError(f"{path}: {key} differs from the header of {WEIGHTS}; export the model again")


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
