"""What a run's logger can do beyond Lightning's: pictures, tables, and a life in a run folder.

`fit` calls `begin` on each logger before the trainer starts and `close` at the end; in between a callback calls
`record_picture` and `record_table`, which write into the run folder and to every logger that takes them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
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

    def close(self) -> None:
        """Write what is left."""


def run_folder(trainer: Trainer) -> Path:
    """The folder of the trainer's run."""
    return Path(trainer.default_root_dir)


def log_step(trainer: Trainer) -> int:
    """The step at which Lightning writes its own rows now, so that pictures stand beside their metrics."""
    return trainer.fit_loop.epoch_loop._batches_that_stepped


def record_metrics(trainer: Trainer, metrics: dict[str, float]) -> None:
    """Send figures to every logger at the present step, outside of a module's `log`."""
    for logger in trainer.loggers:
        logger.log_metrics(metrics, step=log_step(trainer))


def record_picture(trainer: Trainer, series: str, image: Image.Image) -> Path:
    """Write a picture to `samples/SERIES_STEP.png` in the run folder and to the loggers as `samples/SERIES`; rank 0
    only.

    The series of the main sample grid is called `grid`, its files `step_STEP.png`.
    """
    step = log_step(trainer)
    path = run_folder(trainer) / "samples" / f"{'step' if series == 'grid' else series}_{step + 1:06d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    for logger in trainer.loggers:
        if isinstance(logger, RunLogger):
            logger.log_picture(f"samples/{series}", path, step)
    return path


def record_rows(trainer: Trainer, key: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Send a table to the loggers that take tables; rank 0 only."""
    for logger in trainer.loggers:
        if isinstance(logger, RunLogger):
            logger.log_rows(key, columns, rows, log_step(trainer))


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of one."""
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    staged.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    staged.replace(path)
