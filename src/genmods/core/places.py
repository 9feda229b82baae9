"""Where runs are kept."""

from __future__ import annotations

import os
from pathlib import Path


def runs_folder() -> Path:
    """The folder of all runs: $GENMODS_RUNS, or `runs` in the working directory."""
    return Path(os.environ.get("GENMODS_RUNS") or "runs").expanduser()
