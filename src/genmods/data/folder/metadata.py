"""Reads tables next to images, as written by text editors, spreadsheets and programs: rows of cells, with line numbers.

`.csv` and `.tsv` (commas, semicolons, tabs or bars, with or without a header, UTF-8 with or without a byte order mark),
`.jsonl` and `.parquet`. Nothing heavy is imported; Parquet requires pyarrow.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genmods.core.errors import UserError, first_line, nearest
from genmods.core.printable import counted
from genmods.data.walk import suffixes

_INDEX = re.compile(r"Unnamed: \d+|__index_level_\d+__|")
_SEP = re.compile(r"\Asep=.\r?\n")
"""The first line with which spreadsheets declare a separator."""
SUFFIXES = (".csv", ".jsonl", ".parquet", ".tsv")
FILE_COLUMNS = (
    "file_name",
    "filename",
    "file",
    "image",
    "image_path",
    "path",
    "filepath",
    "image_name",
    "image_id",
    "id",
)
"""Columns with image names, in order of precedence (`file_name` is the convention of Hugging Face)."""


@dataclass(frozen=True)
class Row:
    """One row: its file, its first line, its cells by column, None if empty, and whether a comma is a decimal one."""

    path: Path
    line: int
    cells: dict[str, Any]
    decimal_comma: bool = False

    def __str__(self) -> str:
        """Its location, as the start of an error message."""
        return f"{self.path}:{self.line}"


@dataclass(frozen=True)
class Metadata:
    """A table: its file, columns, rows, and the column of image names."""

    path: Path
    columns: list[str]
    rows: list[Row]
    file_column: str


def read_metadata(path: Path, file_column: str | None, is_image: Callable[[str], bool]) -> Metadata:
    """Reads a table.

    Args:
        path: A `.csv`, `.tsv`, `.jsonl` or `.parquet` file.
        file_column: The column of image names; None detects it by its name or its contents.
        is_image: Whether a text is the name of an image, to detect tables without a header.

    Raises:
        UserError: If the file is not such a table, or no column contains image names.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{path}: a table must be one of {', '.join(SUFFIXES)}")
    if suffix == ".parquet":
        columns, rows = _parquet(path)
    elif suffix == ".jsonl":
        columns, rows = _json_lines(path)
    else:
        columns, rows = _delimited(path, is_image)
    if not rows:
        raise UserError(f"{path}: has no rows")
    columns = [name for name in columns if not _is_index(name, rows)]
    return Metadata(path, columns, rows, _file_column(path, columns, rows, file_column, is_image))


def _is_index(name: str, rows: list[Row]) -> bool:
    """Whether a column is the index that pandas writes: row numbers under one of its names."""
    return _INDEX.fullmatch(name) is not None and all(str(row.cells[name] or 0).isdigit() for row in rows)


def _file_column(
    path: Path, columns: list[str], rows: list[Row], wanted: str | None, is_image: Callable[[str], bool]
) -> str:
    if wanted is not None:
        if wanted not in columns:
            raise UserError(f"{path}: there is no column '{wanted}'{nearest(wanted, columns)}")
        return wanted
    by_name = {column.lower(): column for column in reversed(columns)}
    for name in FILE_COLUMNS:
        if name in by_name:
            return by_name[name]
    for column in columns:
        if any(is_image(str(row.cells[column])) for row in rows[:100] if row.cells[column] is not None):
            return column
    raise UserError(f"{path}: no column has the names of images; set data.file_column ({', '.join(columns)})")


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{path}:{line}: is not UTF-8 text; save the table as UTF-8") from None
    if "\0" in text:
        raise UserError(f"{path}:1: is not UTF-8 text; save the table as UTF-8")
    return _SEP.sub("\n", text, count=1)


def _delimited(path: Path, is_image: Callable[[str], bool]) -> tuple[list[str], list[Row]]:
    text = _text(path)
    delimiter = _delimiter(path, text, is_image)
    lines = list(_cells(path, text, delimiter))
    if not lines:
        raise UserError(f"{path}: is empty")
    (_, first), body = lines[0], lines[1:]
    if not _is_header(first) and any(_looks_like_image(cell, is_image) for cell in first):
        header, body = _positional(first, is_image), lines
    else:
        header = first
    for line, cells in body:
        if any(cells[len(header) :]) or len(cells) < len(header):  # spreadsheets end rows with empty cells
            own = counted(len(cells), "cell")
            raise UserError(f"{path}:{line}: has {own}, expected {len(header)}: {', '.join(header)}")
    times = Counter(header)
    for place, column in enumerate(header):
        if column and times[column] > 1:
            raise UserError(f"{path}:{lines[0][0]}: two columns have the name '{column}'")
        if not column and not all(cells[place].isdigit() or not cells[place] for _, cells in body):
            raise UserError(f"{path}:{lines[0][0]}: column {place + 1} has no name")
    rows = [
        Row(path, line, {c: cell or None for c, cell in zip(header, cells, strict=False) if c}, delimiter == ";")
        for line, cells in body
    ]
    return [column for column in header if column], rows


def _is_header(cells: list[str]) -> bool:
    return any(cell.lower() in FILE_COLUMNS for cell in cells)


def _looks_like_image(cell: str, is_image: Callable[[str], bool]) -> bool:
    """Whether a cell is the name of an image, which need not exist."""
    return is_image(cell) or Path(cell).suffix.lower() in suffixes()


def _positional(first: list[str], is_image: Callable[[str], bool]) -> list[str]:
    """Column names of a table without a header: `file_name`, and `label` for a table with two columns."""
    place = next(i for i, cell in enumerate(first) if _looks_like_image(cell, is_image))
    others = ["label"] if len(first) == 2 else [f"column_{i + 1}" for i in range(len(first)) if i != place]
    return [*others[:place], "file_name", *others[place:]]


def _cells(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(first line, cells without surrounding blanks) of each row that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    begin = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield begin, [cell.strip() for cell in cells]
            begin = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}:{begin}: {error}") from None


def _delimiter(path: Path, text: str, is_image: Callable[[str], bool]) -> str:
    """Comma, semicolon, tab or bar: the one that separates the name of an image or of its column in the first row;
    otherwise the most frequent there, outside quotes."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    first = next((line for line in text.split("\n") if line.strip()), "")
    outside = "".join(first.split('"')[::2])
    for mark in sorted(",;\t|", key=outside.count, reverse=True):
        cells = [cell.strip().strip('"') for cell in first.split(mark)]
        if len(cells) > 1 and (_is_header(cells) or any(_looks_like_image(cell, is_image) for cell in cells)):
            return mark
    return max(",;\t", key=outside.count)


def _json_lines(path: Path) -> tuple[list[str], list[Row]]:
    rows: list[Row] = []
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            cells = json.loads(line)
        except (ValueError, RecursionError) as error:  # also numbers of too many digits
            raise UserError(f"{path}:{number}: is not JSON: {getattr(error, 'msg', error)}") from None
        if not isinstance(cells, dict):
            raise UserError(f"{path}:{number}: expected an object with columns as keys")
        rows.append(Row(path, number, cells))
    columns = list(dict.fromkeys(column for row in rows for column in row.cells))
    return columns, [Row(path, row.line, {c: _present(row.cells.get(c)) for c in columns}) for row in rows]


def _parquet(path: Path) -> tuple[list[str], list[Row]]:
    try:
        from pyarrow import parquet
    except ImportError:
        raise UserError(f"{path}: reading Parquet requires pyarrow: pip install 'genmods[parquet]'") from None
    try:
        table = parquet.read_table(path)
    except Exception as error:  # pyarrow raises many types of exceptions
        raise UserError(f"{path}: {first_line(error)}") from None
    cells = enumerate(table.to_pylist(), start=1)
    return list(table.column_names), [Row(path, i, {k: _present(v) for k, v in row.items()}) for i, row in cells]


def _present(cell: Any) -> Any:
    """A cell, or None if it is empty."""
    if isinstance(cell, str):
        return cell.strip() or None
    return None if isinstance(cell, float) and math.isnan(cell) else cell
