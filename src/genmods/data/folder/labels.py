"""The labels of a table: a class, several labels, or numbers per image, inferred from its columns or set in the recipe.

One column of text is the class; columns of 0 and 1 (or -1 and 1), lists, or texts with a separator are several labels;
numeric columns are numbers. Nothing heavy is imported.
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
from genmods.data.folder.cells import (
    decimal_mark,
    is_grouped,
    is_list,
    is_missing,
    may_be_grouped,
    number,
    truth,
    written,
)
from genmods.data.folder.metadata import Row

_SEPARATORS = ("|", ";")
_RESOLVED = 1000 * 2.0**-24
"""The least range of numbers relative to their size: a thousand steps of float32."""

Label = int | list[float]
Known = list[tuple[Row, Any]]
"""The rows in which a column is not empty, with its cells."""


@dataclass(frozen=True)
class Columns:
    """How the columns of a table are read.

    Attributes:
        kind: The kind of labels; "class" with several columns: the only one that is 1.
        names: The columns that contain them.
        separator: Separates the labels in one column of text; "" for lists or one column per label.
        signs: Whether -1 and 1 are labels that an image does not have and has.
    """

    kind: LabelKind
    names: tuple[str, ...]
    separator: str = ""
    signs: bool = False

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
        _check_plain(name, known)
    signs = len(targets) > 1 and all(truth(cell, True) is not None for known in cells.values() for _, cell in known)
    signs = signs and any(truth(cell) is None for known in cells.values() for _, cell in known)
    found: LabelKind = kind or ("multilabel" if signs else _kind(path, cells, separator))
    if found == "numbers":
        for name, known in cells.items():
            for row, cell in known:
                if not is_missing(cell):
                    _number(row, name)
    several = found == "class" and len(targets) > 1
    if several and any(truth(cell) is None for known in cells.values() for _, cell in known):
        raise UserError(f"{path}: a class is one column, got {', '.join(targets)}; set data.targets to one of them")
    if found == "multilabel" and len(targets) == 1:
        texts = [cell for _, cell in cells[targets[0]] if isinstance(cell, str)]
        return Columns("multilabel", tuple(targets), _separator(texts) if separator is None else separator)
    return Columns(found, tuple(targets), signs=signs and found == "multilabel")


def _check_plain(name: str, known: Known) -> None:
    """Raises UserError for a cell that contains no label: an object, bytes, or a list of other things than labels."""
    for row, cell in known:
        if isinstance(cell, dict | bytes):
            kind = "an object" if isinstance(cell, dict) else "bytes"
            raise UserError(f"{row}: {name} must be text, a number or a list of labels, got {kind}")
        for item in cell if isinstance(cell, list) else ():
            if isinstance(item, dict | list | float):
                raise UserError(f"{row}: {name} must be a list of labels, got {item}; numbers are one column each")
            if item is None or isinstance(item, bool | bytes):
                raise UserError(f"{row}: {name} must be a list of labels, got {cell}; truth values are one column each")
    row, cell = known[0]
    if _are_indicators([cell for _, cell in known]):
        raise UserError(f"{row}: {name} must be a list of labels, got {cell}; 0 and 1 are one column per label")
    if written := next(((row, cell) for row, cell in known if is_list(cell)), None):
        row, cell = written
        raise UserError(f"{row}: {name} must be text, got the list {cell}; write x|y, or lists in .jsonl")


def _are_indicators(cells: list[Any]) -> bool:
    """Whether lists of equal length have 0 or 1 for each label, instead of the labels."""
    lists = [cell for cell in cells if isinstance(cell, list)]
    alike = len(lists) == len(cells) and len({len(cell) for cell in lists}) == 1
    return alike and len(lists[0]) > 1 and all(item in (0, 1) for cell in lists for item in cell)


def check_numbers(rows: Sequence[Row], name: str) -> None:
    """Checks that the numbers in a column of a table have one meaning, and that float32 resolves them.

    Raises:
        UserError: If some have decimal points and others commas, one of which may separate thousands, or if they are
            nearly equal.
    """
    known = [(row, row.cells[name], value) for row in rows if (value := number(row.cells.get(name))) is not None]
    marked = {mark: row for row, cell, _ in known if (mark := decimal_mark(cell))}
    for row, cell, _ in known:
        if len(marked) > 1 and may_be_grouped(cell):
            other = marked["," if decimal_mark(cell) == "." else "."]
            raise UserError(f"{row}: {name} is ambiguous: '{cell}', beside '{other.cells[name]}' in line {other.line}")
    values = [value for *_, value in known]
    low, high = min(values, default=0.0), max(values, default=0.0)
    if 0 < high - low < _RESOLVED * max(abs(low), abs(high)):
        raise UserError(
            f"{rows[0].path}: {name} must differ by more than float32 resolves, got {low:.12g} to {high:.12g}; "
            "subtract a constant"
        )


def _kind(path: Path, cells: dict[str, Known], separator: str | None) -> LabelKind:
    kinds = {name: _kind_of_column(name, known, separator) for name, known in cells.items()}
    if len(kinds) == 1:
        ((name, kind),) = kinds.items()
        if kind == "truth":
            return "numbers" if all(is_missing(c) or number(c) is not None for _, c in cells[name]) else "class"
        return kind
    if set(kinds.values()) == {"truth"}:
        return "multilabel"
    if set(kinds.values()) <= {"truth", "numbers"}:
        return "numbers"
    words = {"class": "text", "multilabel": "several labels", "numbers": "numbers", "truth": "numbers"}
    notes = ", ".join(f"{name}: {words[kind]}" for name, kind in kinds.items())
    if len(set(kinds.values())) == 1:
        raise UserError(f"{path}: several columns may be the labels ({notes}); set data.targets to one of them")
    raise UserError(f"{path}: columns are of different kinds ({notes}); set data.targets to the columns of labels")


def _kind_of_column(
    name: str, known: Known, separator: str | None
) -> Literal["class", "multilabel", "numbers", "truth"]:
    """The kind of a column; raises UserError for one cell among numbers that is not a number."""
    if any(isinstance(cell, list) for _, cell in known):
        return "multilabel"
    given = [(row, cell) for row, cell in known if not is_missing(cell)] or known
    if all(truth(cell) is not None for _, cell in given):
        return "truth"
    others = [(row, cell) for row, cell in given if number(cell) is None and not is_grouped(cell)]
    if not others:
        return "numbers"
    marks = _SEPARATORS if separator is None else (separator,) if separator else ()
    if any(mark in str(cell) for _, cell in known for mark in marks):
        return "multilabel"
    if 2 * len(others) < len(given):
        row, cell = others[0]
        raise UserError(f"{row}: {name} must be a number, got '{cell}'; data.label_kind: class reads texts as classes")
    return "class"


def _separator(texts: list[str]) -> str:
    """The separator that most texts contain."""
    return max(_SEPARATORS, key=lambda mark: sum(mark in text for text in texts))


def about_separator(names: Sequence[str]) -> str:
    """The separator of texts that are probably several labels, not classes: their parts recur; otherwise ""."""
    for mark in (",", " "):
        joined = [name for name in names if mark in name]
        parts, alone = {part.strip() for name in joined for part in name.split(mark)}, {*names} - {*joined}
        if joined and (len(parts | alone) < len(names) or (mark == "," and parts & alone)):
            return mark
    return ""


def _number(row: Row, column: str) -> float:
    """The number of a cell. Raises UserError if it is not one, or if its comma may separate thousands."""
    cell = row.cells[column]
    if is_grouped(cell) and not row.decimal_comma:
        raise UserError(f"{row}: {column} must have a decimal point and no thousands separators, got '{cell}'")
    return _known(number(cell), row, column, "a number")


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
        cells = [row.cells.get(name) for name in self.columns.names]
        return all(cell is None or (self.columns.kind == "numbers" and is_missing(cell)) for cell in cells)

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
            return self._of_columns(row)
        places = [self._place(name, row) for name in self._names(row)]
        return [float(k in places) for k in range(len(self.names))] if several else places[0]

    def _of_columns(self, row: Row) -> Label:
        """Several labels with a column each, or the class whose column is 1."""
        signs = self.columns.signs
        wanted = "-1 or 1" if signs else "0 or 1"
        values = [_known(truth(row.cells[name], signs), row, name, wanted) for name in self.names]
        if self.columns.kind == "multilabel":
            return values
        if sum(values) != 1:
            raise UserError(f"{row}: a class must have a single 1 in its columns, got {sum(values):.0f}")
        return values.index(1)

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
        return [text for item in items if (text := written(item))]


def _known(value: float | None, row: Row, column: str, wanted: str) -> float:
    if value is None:
        raise UserError(f"{row}: {column} must be {wanted}, got '{row.cells[column]}'")
    return value


def _in_order(name: str) -> tuple[float, str]:
    """Sorting key: integers by value, before texts in alphabetical order."""
    return (float(name), name) if re.fullmatch(r"-?\d+", name) else (math.inf, name)
