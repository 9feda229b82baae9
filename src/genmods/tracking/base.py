"""What a run's logger can do beyond Lightning's: pictures, tables, and a life in a run folder.

`genmods.runs.loggers` calls `begin` on each logger before anything is logged and `close` at the end; in between a
callback takes the `logbook` of its trainer, which writes into the run folder and to every logger.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Trainer

from genmods.core.atomic import replacing
from genmods.core.lightning_internals import logged_step

if TYPE_CHECKING:
    from PIL import Image


class RunLogger:
    """A logger that lives in a run folder. All methods are called on rank 0 only and use no collective."""

    def begin(self, folder: Path, config: dict[str, Any], resume_step: int | None = None) -> None:
        """Start in `folder` with the resolved `config`; a run resumed at `resume_step` writes later rows again."""
        raise NotImplementedError

    def log_picture(self, key: str, path: Path, step: int) -> None:
        """Take a picture that lies in the run folder."""

    def log_rows(self, key: str, columns: list[str], rows: list[list[Any]], step: int) -> None:
        """Take a table; a cell may be a PIL image."""

    def log_origin(self, checkpoint: Path, results: list[Path]) -> None:
        """Note that the files `results` were made with `checkpoint`."""

    def close(self) -> None:
        """Write what is left."""


@dataclass
class Logbook:
    """A run folder and its loggers at one step; used on rank 0 only, and with no collective."""

    folder: Path
    loggers: list[Any]
    step: int
    """The step at which Lightning writes its own rows: one less than the number of steps taken."""

    def metrics(self, figures: dict[str, float]) -> None:
        """Log figures outside of a module's `log`."""
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
        """Send a table to the loggers that take tables; a cell may be a PIL image."""
        for logger in self._takers():
            logger.log_rows(key, columns, rows, self.step)

    def origin(self, checkpoint: Path, results: list[Path]) -> None:
        """Note that the files `results` were made with `checkpoint`."""
        for logger in self._takers():
            logger.log_origin(checkpoint, results)

    def _takers(self) -> list[RunLogger]:
        return [logger for logger in self.loggers if isinstance(logger, RunLogger)]


def run_folder(trainer: Trainer) -> Path:
    """The folder of the trainer's run."""
    return Path(trainer.default_root_dir)


def logbook(trainer: Trainer) -> Logbook:
    """Where a callback of `trainer` writes now, so that pictures stand beside their metrics."""
    return Logbook(run_folder(trainer), trainer.loggers, logged_step(trainer))


def write_json(path: Path, content: Any) -> None:
    """Write JSON, and its folder, so that a reader sees the old file or the new one, never half of one."""
    with replacing(path) as staged:
        staged.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
