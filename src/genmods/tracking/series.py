"""Reads metrics files with the standard library only, so that inspecting runs needs neither torch nor Lightning."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from genmods.core.errors import UserError

Row = dict[str, str]
_STEP = re.compile("[0-9]{1,15}")


def read_metrics(path: Path) -> list[Row]:
    """The rows of a metrics file as text, sorted and merged by step; an incomplete last line is ignored.

    Raises UserError if the file is not a table of metrics.
    """
    return parse_metrics(path.read_bytes(), path) if path.is_file() else []


def parse_metrics(content: bytes, path: Path) -> list[Row]:
    """The rows of the metrics file `path` with this content; see `read_metrics`."""
    merged: dict[int, Row] = {}
    for step, row in iterate_rows(content, path):
        merged.setdefault(step, {}).update(row)
    return [merged[step] for step in sorted(merged)]


def iterate_rows(content: bytes, path: Path) -> Iterator[tuple[int, Row]]:
    """The step and the cells of each complete line with a step, in the order of the metrics file `path`.

    Raises UserError if the content is not a table of metrics.
    """
    complete = io.BytesIO(content[: content.rfind(b"\n") + 1])
    try:
        table = csv.reader(io.TextIOWrapper(complete, "utf-8", errors="replace", newline=""))
        columns = next(table, [])
        for line in table:
            row = {name: cell for name, cell in zip(columns, line, strict=False) if name and cell}
            if _STEP.fullmatch(row.get("step", "")):
                yield int(row["step"]), row
    except csv.Error as error:
        raise UserError(f"{path}: not a table of metrics ({error})") from None


def read_series(path: Path) -> dict[str, list[tuple[int, float]]]:
    """The metrics of a metrics file as (step, value) pairs, without infinite and missing values.

    Raises UserError if the file is not a table of metrics.
    """
    return parse_series(path.read_bytes(), path) if path.is_file() else {}


def parse_series(content: bytes, path: Path) -> dict[str, list[tuple[int, float]]]:
    """The series of the metrics file `path` with this content; see `read_series`."""
    series: dict[str, list[tuple[int, float]]] = {}
    for step, row in iterate_rows(content, path):
        for name, text in row.items():
            try:
                value = float(text)
            except ValueError:
                raise UserError(f"{path}: {name} at step {step} must be a number, got '{text}'") from None
            if name != "step" and math.isfinite(value):
                series.setdefault(name, []).append((step, value))
    return {name: _in_order(points) for name, points in series.items()}


def _in_order(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """The last point of each step, by step."""
    is_ordered = all(first[0] < second[0] for first, second in pairwise(points))
    return points if is_ordered else sorted(dict(points).items())
