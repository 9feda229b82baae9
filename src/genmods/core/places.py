"""Where runs and their checkpoints are kept."""

from __future__ import annotations

import os
from pathlib import Path


def runs_folder() -> Path:
    """The folder of all runs: $GENMODS_RUNS, or `runs` in the working directory."""
    return Path(os.environ.get("GENMODS_RUNS") or "runs").expanduser()


def kept_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in `folder` that were kept under their step, the oldest first."""
    return sorted(folder.glob("step_*.ckpt"), key=by_step)


def by_step(path: Path) -> tuple[int, str]:
    """Orders the checkpoints kept under their step, also beyond six digits."""
    return len(path.name), path.name
