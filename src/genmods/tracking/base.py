"""Extensions of Lightning's loggers: pictures, tables and a run folder.

`genmods.runs.loggers` calls `begin` on each logger before anything is logged and `close` at the end. Callbacks use the
`logbook` of their trainer, which writes to the run folder and to all loggers.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Trainer

from genmods.core.atomic import replacing
from genmods.core.lightning_internals import logged_step
from genmods.core.printable import cell, printable

if TYPE_CHECKING:
    from PIL import Image


class RunLogger:
    """A logger with a run folder. All methods are called on rank 0 only and use no collective operations."""

    def begin(self, folder: Path, config: dict[str, Any], resume_step: int | None = None) -> None:
        """Start logging to `folder` with the resolved `config`; a run resumed at `resume_step` repeats later rows."""
        raise NotImplementedError

    def log_picture(self, key: str, path: Path, step: int) -> None:
        """Log a picture stored in the run folder."""

    def log_rows(self, key: str, columns: list[str], rows: list[list[Any]], step: int) -> None:
        """Log a table; a cell may be a PIL image."""

    def log_origin(self, checkpoint: Path, results: list[Path]) -> None:
        """Record that the files `results` were made with `checkpoint`."""

    def close(self) -> None:
        """Flush and close."""


@dataclass
class Logbook:
    """A run folder and its loggers at one step; used on rank 0 only, without collective operations."""

    folder: Path
    loggers: list[Any]
    step: int
    """The step at which Lightning logs: one less than the number of steps taken."""

    def metrics(self, figures: dict[str, float]) -> None:
        """Log metrics outside of a module's `log`."""
        for logger in self.loggers:
            logger.log_metrics(figures, step=self.step)

    def picture(self, series: str, image: Image.Image) -> Path:
        """Write a picture to `samples/SERIES_STEP.png`, and to the loggers as `samples/SERIES`.

        The series of the main sample grid is called `grid`, its files `step_STEP.png`.
        """
        path = self.folder / "samples" / f"{'step' if series == 'grid' else series}_{self.step + 1:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        for logger in self._takers():
            logger.log_picture(f"samples/{series}", path, self.step)
        return path

    def rows(self, key: str, columns: list[str], rows: list[list[Any]]) -> None:
        """Log a table to the loggers that support tables; a cell may be a PIL image."""
        columns = list(map(printable, columns))
        rows = [[printable(value) if isinstance(value, str) else value for value in row] for row in rows]
        for logger in self._takers():
            logger.log_rows(key, columns, rows, self.step)

    def table(self, key: str, columns: list[str], rows: list[list[Any]]) -> Path:
        """Write a table of plain cells to `KEY.csv` in the run folder, and send it to the loggers."""
        path = self.folder / f"{key}.csv"
        with replacing(path) as staged, staged.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([[cell(str(value)) for value in row] for row in (columns, *rows)])
        self.rows(key, columns, rows)
        return path

    def origin(self, checkpoint: Path, results: list[Path]) -> None:
        """Record that the files `results` were made with `checkpoint`."""
        for logger in self._takers():
            logger.log_origin(checkpoint, results)

    def _takers(self) -> list[RunLogger]:
        return [logger for logger in self.loggers if isinstance(logger, RunLogger)]


def run_folder(trainer: Trainer) -> Path:
    """The folder of the trainer's run."""
    return Path(trainer.default_root_dir)


def logbook(trainer: Trainer) -> Logbook:
    """The logbook of `trainer` at its current step, so that pictures share the step of their metrics."""
    return Logbook(run_folder(trainer), trainer.loggers, logged_step(trainer))


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, so that a reader sees either the old or the new file; creates the folder."""
    with replacing(path) as staged:
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        staged.write_text(text, encoding="utf-8", errors="backslashreplace")  # names of files need not be UTF-8
