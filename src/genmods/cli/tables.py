"""Tables of figures as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from typing import IO

from genmods.core.printable import cell


def predictions(rows: Iterable[tuple[str, list[float]]], file: IO[str], class_names: list[str]) -> None:
    """Named class probabilities as CSV: image, most likely class, its probability, and one column per class."""
    writer = csv.writer(file, lineterminator="\n")
    class_names = [cell(name) for name in class_names]
    writer.writerow(["image", "class", "probability", *class_names])
    for name, row in rows:
        best = max(range(len(row)), key=row.__getitem__)
        writer.writerow([cell(name), class_names[best], *(f"{p:.6f}" for p in (row[best], *row))])
