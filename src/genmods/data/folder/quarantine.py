"""Broken files of a data set are moved out of it, so that they can be looked at and are not met again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def quarantine(files: Sequence[Path], root: Path) -> tuple[Path, list[str]]:
    """Move `files` below `root` to the folder beside it with `.quarantine` added to its name, under the same names.

    A file of that name that is there already is replaced. Returns that folder, and a line for each file that could not
    be moved.
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
