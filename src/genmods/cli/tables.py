"""Tables of predictions as CSV."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable
from typing import IO

from genmods.core.printable import cell
from genmods.models import Model


def predictions(rows: Iterable[tuple[str, list[float]]], file: IO[str], model: Model) -> None:
    """Writes predictions for named images as CSV, with the column names of the model's training table.

    One class per image: the image, its most likely class, the probability of that, and of each class. Several labels:
    the image, the labels with a probability of at least 0.5 if the table has them in one column, and the probability of
    each label. Numbers: the image and each number.
    """
    kind = model.predicts
    image, column, *mark = model.columns
    rows = iter(rows)
    some = list(itertools.islice(rows, 1))
    names = [cell(name) for name in model.class_names or map(str, range(len(some[0][1]) if some else 0))]
    best = {"class": [column, "probability"], "multilabel": [column] if column else []}.get(kind, [])
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(map(cell, [image, *best, *names]))
    for name, row in itertools.chain(some, rows):
        numbers = [f"{value:.6g}" if kind == "numbers" else f"{value:.6f}" for value in row]
        first: list[str] = []
        if kind == "class":
            k = max(range(len(row)), key=row.__getitem__)
            first = [names[k], numbers[k]]
        elif best:
            first = [(mark[0] if mark else "|").join(label for label, p in zip(names, row, strict=True) if p >= 0.5)]
        writer.writerow([cell(name), *first, *numbers])
