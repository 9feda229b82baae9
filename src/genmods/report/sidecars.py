"""Reads the files of an untrusted run folder.

Files that are missing, damaged, of an unexpected structure, or reached by a symbolic link out of the folder are
ignored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

MAX_BYTES = 50_000_000


def read_inside(folder: Path, path: Path, most: int = MAX_BYTES) -> bytes | None:
    """The bytes of the regular file `path` in `folder`; None if it does not exist or is larger than `most` bytes."""
    try:
        if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
            return None
        size = path.stat().st_size
        if size > most:
            return None
        with path.open("rb") as file:
            content = file.read(size + 1)  # `read` allocates as much as it may return
    except (OSError, RuntimeError, ValueError):  # RuntimeError: a loop of links
        return None
    return content if len(content) <= most else None


def read_sidecars(folder: Path) -> dict[str, Any]:
    """The JSON files of a run folder by name, restricted to those with the structure that the report expects."""
    found = {}
    for name, fits in _SHAPES.items():
        content = read_inside(folder, folder / f"{name}.json")
        try:
            value = None if content is None else json.loads(content, parse_constant=str, parse_float=_float)
        except (ValueError, RecursionError):
            continue
        if value is not None and fits(value):
            found[name] = value
    return found


def _float(text: str) -> float | str:
    """Parse a number; `NaN`, `Infinity` and numbers that overflow are returned as text."""
    value = float(text)
    return value if math.isfinite(value) else text


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _optional(*fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or any(fit(value) for fit in fits)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _figure(value: Any) -> bool:
    return _number(value) or _text(value)


def _numbers(value: Any, many: int) -> bool:
    return isinstance(value, list) and len(value) == many and all(map(_number, value))


def _confusion(value: Any) -> bool:
    if not isinstance(value, dict) or not _number(value.get("step")):
        return False
    names, counts = value.get("class_names"), value.get("counts")
    if not isinstance(names, list) or not isinstance(counts, list) or len(names) != len(counts):
        return False
    return all(map(_text, names)) and all(_numbers(row, len(names)) for row in counts)


def _noise(value: Any) -> bool:
    edges, history = (value.get(name) for name in ("log_snr_edges", "history")) if isinstance(value, dict) else (0, 0)
    if not isinstance(edges, list) or not isinstance(history, list) or not _numbers(edges, len(edges)):
        return False
    return all(isinstance(row, dict) and _number(row.get("step")) and _losses(row, len(edges) - 1) for row in history)


def _losses(row: dict[str, Any], bins: int) -> bool:
    losses = row.get("loss")
    return isinstance(losses, list) and len(losses) == bins and all(map(_optional(_number), losses))


def _timing(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_number, value.values()))


def _stage(value: Any) -> bool:
    figures = value.get("figures") if isinstance(value, dict) else None
    if not isinstance(figures, dict) or not all(map(_optional(_figure), figures.values())):
        return False
    return _number(value.get("images")) and _text(value.get("data_hash"))


def _evaluation(value: Any) -> bool:
    figures = value.get("figures", []) if isinstance(value, dict) else None
    return isinstance(figures, list) and all(
        isinstance(figure, dict)
        and _text(figure.get("name"))
        and all(_optional(_figure)(figure.get(key)) for key in ("value", "low", "high", "held_out", "note"))
        for figure in figures
    )


def _environment(value: Any, depth: int = 0) -> bool:
    if not isinstance(value, dict | list):
        return True
    items = value.values() if isinstance(value, dict) else value
    return depth < 20 and all(_environment(item, depth + 1) for item in items)


_SHAPES: dict[str, Callable[[Any], bool]] = {
    "confusion": _confusion,
    "loss_by_noise": _noise,
    "environment": lambda value: isinstance(value, dict) and _environment(value),
    "timing": _timing,
    "evaluation": _evaluation,
    "test": _stage,
    "validate": _stage,
}
"""File -> whether a value has the structure that the page expects."""
