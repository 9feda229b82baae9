"""Reads metrics files with the standard library only, so that inspecting runs needs neither torch nor Lightning."""

from __future__ import annotations

import csv
import io
import math
import re
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
    complete = content[: content.rfind(b"\n") + 1].decode(errors="replace")
    merged: dict[int, Row] = {}
    try:
        table = csv.reader(io.StringIO(complete, newline=""))
        columns = next(table, [])
        for line in table:
            row = dict(zip(columns, line, strict=False))
            if _STEP.fullmatch(row.get("step", "")):
                merged.setdefault(int(row["step"]), {}).update({k: v for k, v in row.items() if k and v})
    except csv.Error as error:
        raise UserError(f"{path}: not a table of metrics ({error})") from None
    return [merged[step] for step in sorted(merged)]


def read_series(path: Path) -> dict[str, list[tuple[int, float]]]:
    """The metrics of a metrics file as (step, value) pairs, without infinite and missing values.

    Raises UserError if the file is not a table of metrics.
    """
    return parse_series(path.read_bytes(), path) if path.is_file() else {}


def parse_series(content: bytes, path: Path) -> dict[str, list[tuple[int, float]]]:
    """The series of the metrics file `path` with this content; see `read_series`."""
    series: dict[str, list[tuple[int, float]]] = {}
    for row in parse_metrics(content, path):
        step = int(row["step"])
        for name, text in row.items():
            try:
                value = float(text)
            except ValueError:
                raise UserError(f"{path}: {name} at step {step} must be a number, got '{text}'") from None
            if name != "step" and math.isfinite(value):
                series.setdefault(name, []).append((step, value))
    return series
