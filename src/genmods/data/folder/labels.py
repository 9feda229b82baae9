"""The labels of a table: a class, several labels, or numbers per image, inferred from its columns or set in the recipe.

One column of text is the class; columns of 0 and 1, lists, or texts with a separator are several labels; numeric
columns are numbers. Nothing heavy is imported.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from genmods.core.errors import UserError
from genmods.core.label_kinds import LabelKind
from genmods.data.folder.metadata import Row

_SEPARATORS = ("|", ";")
_TRUTH = {"0": 0.0, "1": 1.0, "false": 0.0, "true": 1.0, "0.0": 0.0, "1.0": 1.0}
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
_GROUPED = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+")
"""A number with thousands separators; a single comma is a decimal one in tables with semicolons."""

Label = int | list[float]


@dataclass(frozen=True)
class Columns:
    """How the columns of a table are read.

    Attributes:
        kind: The kind of labels.
        names: The columns that contain them.
        separator: Separates the labels in one column of text; "" for lists or one column per label.
    """

    kind: LabelKind
    names: tuple[str, ...]
    separator: str = ""

    def __str__(self) -> str:
        """The columns, for the summary of a data set."""
        by = f" (several, separated by '{self.separator}')" if self.separator else ""
        return f"column{'s' * (len(self.names) > 1)} {', '.join(self.names)}{by}"


def columns_of(rows: Sequence[Row], targets: Sequence[str], kind: LabelKind | None, separator: str | None) -> Columns:
    """How the labels of `rows` are read: from the columns `targets`, with `kind` and `separator` if given.

    Raises:
        UserError: If the columns are of different kinds, or not of the requested kind.
    """
    path = rows[0].path
    cells = {name: [(row, row.cells[name]) for row in rows if row.cells[name] is not None] for name in targets}
    for name, known in cells.items():
        if not known:
            raise UserError(f"{path}: column '{name}' is empty for all training images")
    found = kind or _kind(path, cells, separator)
    if found == "numbers":
        for name, known in cells.items():
            for row, _ in known:
                _number(row, name)
    if found == "class" and len(targets) > 1:
        raise UserError(f"{path}: a class is one column, got {', '.join(targets)}; set data.targets to one of them")
    if found == "multilabel" and len(targets) == 1:
        texts = [cell for _, cell in cells[targets[0]] if isinstance(cell, str)]
        return Columns("multilabel", tuple(targets), _separator(texts) if separator is None else separator)
    return Columns(found, tuple(targets))


def _kind(path: Path, cells: dict[str, list[tuple[Row, Any]]], separator: str | None) -> LabelKind:
    kinds = {name: _kind_of_column([cell for _, cell in known], separator) for name, known in cells.items()}
    if len(kinds) == 1:
        ((name, kind),) = kinds.items()
        if kind == "truth":
            return "numbers" if all(number(cell) is not None for _, cell in cells[name]) else "class"
        return kind
    if set(kinds.values()) == {"truth"}:
        return "multilabel"
    if set(kinds.values()) <= {"truth", "numbers"}:
        return "numbers"
    words = {"class": "text", "multilabel": "several labels", "numbers": "numbers", "truth": "numbers"}
    notes = ", ".join(f"{name}: {words[kind]}" for name, kind in kinds.items())
    raise UserError(f"{path}: columns are of different kinds ({notes}); set data.targets to the columns of labels")


def _kind_of_column(known: list[Any], separator: str | None) -> Literal["class", "multilabel", "numbers", "truth"]:
    if any(isinstance(cell, list) for cell in known):
        return "multilabel"
    if all(truth(cell) is not None for cell in known):
        return "truth"
    if all(number(cell) is not None or _is_grouped(cell) for cell in known):
        return "numbers"
    marks = _SEPARATORS if separator is None else (separator,) if separator else ()
    return "multilabel" if any(mark in str(cell) for cell in known for mark in marks) else "class"


def _separator(texts: list[str]) -> str:
    """The separator that most texts contain."""
    return max(_SEPARATORS, key=lambda mark: sum(mark in text for text in texts))


def number(cell: Any) -> float | None:
    """A cell as a finite number, with a decimal point or comma; None if it is not a number."""
    if isinstance(cell, bool):
        return None
    if isinstance(cell, str) and _DECIMAL_COMMA.fullmatch(cell):
        cell = cell.replace(",", ".")
    try:
        value = float(cell)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _is_grouped(cell: Any) -> bool:
    return isinstance(cell, str) and _GROUPED.fullmatch(cell) is not None


def _number(row: Row, column: str) -> float:
    """The number of a cell. Raises UserError if it is not one, or if its comma may separate thousands."""
    cell = row.cells[column]
    if _is_grouped(cell) and not row.decimal_comma:
        raise UserError(f"{row}: {column} must have a decimal point and no thousands separators, got '{cell}'")
    return _known(number(cell), row, column, "a number")


def truth(cell: Any) -> float | None:
    """A cell as 0 or 1, or None."""
    return _TRUTH.get(str(cell).lower())


class Reader:
    """Reads rows by `columns`; `names` are the classes, labels or numbers of the `training` rows."""

    def __init__(self, columns: Columns, training: Sequence[Row]) -> None:
        self.columns = columns
        if columns.kind == "numbers" or len(columns.names) > 1:
            self.names = list(columns.names)
        else:
            self.names = sorted({name for row in training for name in self._names(row)}, key=_in_order)
        self._places = {name: k for k, name in enumerate(self.names)}

    def is_blank(self, row: Row) -> bool:
        """Whether a row has no label."""
        return all(row.cells.get(name) is None for name in self.columns.names)

    def read(self, row: Row) -> Label:
        """The label of a row. Raises UserError, naming the row, if it has none or an unknown one."""
        several, names = self.columns.kind == "multilabel", self.columns.names
        if len(names) > 1 or not several:  # an empty cell in one column of several labels: no labels
            for name in names:
                if row.cells.get(name) is None:
                    raise UserError(f"{row}: has no {name}")
        if self.columns.kind == "numbers":
            return [_number(row, name) for name in names]
        if len(names) > 1:
            return [_known(truth(row.cells[name]), row, name, "0 or 1") for name in names]
        places = [self._place(name, row) for name in self._names(row)]
        return [float(k in places) for k in range(len(self.names))] if several else places[0]

    def _place(self, name: str, row: Row) -> int:
        if name not in self._places:
            (column,) = self.columns.names
            raise UserError(f"{row}: there is no {column} '{name}' among the training images")
        return self._places[name]

    def _names(self, row: Row) -> list[str]:
        """The class of a row, or its labels."""
        (column,) = self.columns.names
        cell = row.cells.get(column)
        if cell is None:
            return []
        items = cell if isinstance(cell, list) else [cell]
        if isinstance(cell, str) and self.columns.separator:
            items = cell.split(self.columns.separator)
        return [text for item in items if (text := _written(item))]


def _written(item: Any) -> str:
    """A label as text, integers without a decimal point."""
    whole = isinstance(item, float) and item.is_integer()
    return str(int(item) if whole else item).strip()


def _known(value: float | None, row: Row, column: str, wanted: str) -> float:
    if value is None:
        raise UserError(f"{row}: {column} must be {wanted}, got '{row.cells[column]}'")
    return value


def _in_order(name: str) -> tuple[float, str]:
    """Sorting key: integers by value, before texts in alphabetical order."""
    return (float(name), name) if re.fullmatch(r"-?\d+", name) else (math.inf, name)
