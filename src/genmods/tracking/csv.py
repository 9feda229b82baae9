"""The metrics file: `metrics.csv` in the run folder, always written, one row per step.

Each call is written through to the file, so that a killed process loses at most one row. Metrics of the same step from
several calls share a row: the last row is overwritten in place. A new column rewrites the file once, atomically.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from genmods.core.atomic import replacing
from genmods.tracking.base import RunLogger
from genmods.tracking.series import Row, iterate_rows, read_metrics


class MetricsFile(Logger, RunLogger):
    """Writes all metrics to `metrics.csv` in the run folder, which `begin` sets; before, in the working directory."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(".")
        self._columns: list[str] = ["step"]
        self._row: Row = {}
        self._offset = 0
        self._begun = False

    @property
    def path(self) -> Path:
        """The path of the file."""
        return self.folder / "metrics.csv"

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def begin(self, folder: Path, config: dict[str, Any], resume_step: int | None = None) -> None:
        """Continue the file in `folder`; rows from `resume_step` on are removed, since they will be repeated."""
        self.folder, self._begun = folder, True
        folder.mkdir(parents=True, exist_ok=True)
        rows = read_metrics(self.path)
        if resume_step is not None:
            rows = [row for row in rows if int(row["step"]) < resume_step]
        self._columns = list(dict.fromkeys(["step", *(name for row in rows for name in row)]))
        self._rewrite(rows, None)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """No-op: the recipe is stored next to the file."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write metrics of one step."""
        if not self._begun:
            self.begin(self.folder, {})
        row = {"step": str(0 if step is None else step)} | {k: f"{float(v):.9g}" for k, v in metrics.items()}
        same = self._row.get("step") == row["step"]
        merged = self._row | row if same else row
        new = [name for name in row if name not in self._columns]
        if new:
            self._columns += new
            self._rewrite((other for _, other in iterate_rows(self.path.read_bytes(), self.path)), row)
            return
        try:
            with open(self.path, "r+b") as file:
                self._offset = self._offset if same else file.seek(0, os.SEEK_END)
                file.seek(self._offset)
                file.write(self._line(merged))
                file.truncate()
        except OSError as error:
            error.filename = str(self.path)
            raise
        self._row = merged

    def _line(self, row: Row) -> bytes:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow([row.get(name, "") for name in self._columns])
        return line.getvalue().encode()

    def _rewrite(self, rows: Iterable[Row], last: Row | None) -> None:
        """Writes the file, one row after the other; `last` is merged with the row of its step, and comes last."""
        self._row, self._offset = {}, 0
        with replacing(self.path) as staged, staged.open("wb") as file:
            file.write(self._line(dict(zip(self._columns, self._columns, strict=True))))
            for row in rows:
                if last is not None and row["step"] == last["step"]:
                    last = row | last
                else:
                    self._row, self._offset = row, file.tell()
                    file.write(self._line(row))
            if last is not None:
                self._row, self._offset = last, file.tell()
                file.write(self._line(last))
