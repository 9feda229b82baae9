"""Reading the metrics file, with the standard library alone: looking at runs needs neither torch nor Lightning."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

Row = dict[str, str]


def read_metrics(path: Path) -> list[Row]:
    """The rows of a metrics file as text, in order of steps, those of one step merged; a torn last line is left out."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    complete = text[: text.rfind("\n") + 1]
    merged: dict[int, Row] = {}
    for row in csv.DictReader(io.StringIO(complete)):
        if (row.get("step") or "").isdecimal():
            merged.setdefault(int(row["step"]), {}).update({k: v for k, v in row.items() if k and v})
    return [merged[step] for step in sorted(merged)]


def read_series(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Each metric of a metrics file as (step, value) pairs; infinite and missing values are left out."""
    series: dict[str, list[tuple[int, float]]] = {}
    for row in read_metrics(path):
        step = int(row["step"])
        for name, text in row.items():
            value = float(text)
            if name != "step" and math.isfinite(value):
                series.setdefault(name, []).append((step, value))
    return series
