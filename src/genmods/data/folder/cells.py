"""Reads cells of tables as numbers, truth values and labels."""

from __future__ import annotations

import math
import re
from typing import Any

_TRUTH = {
    **dict.fromkeys(("0", "0.0", "false", "f", "no", "n"), 0.0),
    **dict.fromkeys(("1", "1.0", "true", "t", "yes", "y"), 1.0),
}
_SIGNS = {"-1": 0.0, "-1.0": 0.0, "1": 1.0, "1.0": 1.0}
_MISSING = frozenset(("na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none", "-", "?"))
_NUMBER = re.compile(r"[-+]?(\d+[.,]?\d*|[.,]\d+)(e[-+]?\d+)?", re.IGNORECASE)
_GROUPED = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+")
"""A number with thousands separators; a single comma is a decimal one in tables with semicolons."""


def number(cell: Any) -> float | None:
    """A cell as a finite number, with a decimal point or comma; None if it is not a number."""
    if isinstance(cell, bool):
        return None
    if isinstance(cell, str):
        cell = cell.replace("\N{MINUS SIGN}", "-")
        if not _NUMBER.fullmatch(cell):
            return None
        cell = cell.replace(",", ".")
    try:
        value = float(cell)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def is_grouped(cell: Any) -> bool:
    """Whether the commas of a cell may separate thousands."""
    return isinstance(cell, str) and _GROUPED.fullmatch(cell) is not None


def is_missing(cell: Any) -> bool:
    """Whether a cell is one of the words that programs write for a missing number, such as NA."""
    return isinstance(cell, str) and cell.lower() in _MISSING


def truth(cell: Any, signs: bool = False) -> float | None:
    """A cell as 0 or 1, or None; with `signs`, -1 is 0."""
    return (_SIGNS if signs else _TRUTH).get(str(cell).lower())


def written(cell: Any) -> str:
    """A label or an id as text, integers without a decimal point."""
    whole = isinstance(cell, float) and cell.is_integer()
    return str(int(cell) if whole else cell).strip()
