"""Reads cells of tables as numbers, truth values and labels."""

from __future__ import annotations

import re
from typing import Any

_TRUTH = {
    **dict.fromkeys(("0", "0.0", "false", "f", "no", "n"), 0.0),
    **dict.fromkeys(("1", "1.0", "true", "t", "yes", "y"), 1.0),
}
_SIGNS = {"-1": 0.0, "-1.0": 0.0, "1": 1.0, "1.0": 1.0}
_MISSING = frozenset(("na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none", "-", "?"))
_NUMBER = re.compile(r"[-+]?(\d+[.,]?\d*|[.,]\d+)(e[-+]?\d+)?", re.IGNORECASE)
_LARGEST = 1e38
"""Differences of larger numbers may be infinite in float32."""
_LIST = re.compile(r"\[\s*((['\"]).*\2\s*)?\]", re.DOTALL)
_GROUPED = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+")
"""A number with thousands separators; a single comma is a decimal one in tables with semicolons."""


def number(cell: Any) -> float | None:
    """A cell as a number that float32 represents, with a decimal point or comma; None if it is not one."""
    if isinstance(cell, bool):
        return None
    if isinstance(cell, str):
        cell = cell.replace("\N{MINUS SIGN}", "-")
        if not _NUMBER.fullmatch(cell):
            return None
        cell = cell.replace(",", ".")
    try:
        value = float(cell)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if abs(value) <= _LARGEST else None


def is_grouped(cell: Any) -> bool:
    """Whether the commas of a cell may separate thousands."""
    return isinstance(cell, str) and _GROUPED.fullmatch(cell) is not None


def may_be_grouped(cell: Any) -> bool:
    """Whether the commas or points of a cell may separate thousands."""
    return isinstance(cell, str) and is_grouped(cell.replace(".", ","))


def decimal_mark(cell: Any) -> str:
    """The decimal point or comma of a number written as text; "" if it has none."""
    return next((mark for mark in ".," if mark in cell), "") if isinstance(cell, str) else ""


def is_list(cell: Any) -> bool:
    """Whether a text is a list of texts, as Python or JSON writes it."""
    return isinstance(cell, str) and _LIST.fullmatch(cell) is not None


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
