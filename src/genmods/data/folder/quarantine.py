"""Moves broken files out of a data set, where they can be inspected and are not read again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def quarantine(files: Sequence[Path], root: Path) -> tuple[Path, list[str]]:
    """Moves `files` in `root` to the same paths in the folder `root`.quarantine, replacing existing files.

    Returns that folder, and one line per file that could not be moved.
    """
    root = Path(os.path.abspath(root))
    beside, faults = root.with_name(f"{root.name}.quarantine"), []
    for path in files:
        target = beside / Path(os.path.abspath(path)).relative_to(root)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
        except FileNotFoundError:  # another process of the run has moved it
            continue
        except OSError as error:
            faults.append(f"{path}: not moved: {error.strerror}")
    return beside, faults
