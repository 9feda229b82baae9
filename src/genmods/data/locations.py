"""Locations of data sets: `root` in the recipe, GENMODS_DATA, and well-known folders."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from genmods.core.atomic import cache
from genmods.core.errors import UserError, first_line


def home(root: str | None) -> Path:
    """The folder for downloads: `root`, GENMODS_DATA, or `data` in the cache folder."""
    return Path(root or os.environ.get("GENMODS_DATA") or cache("data")).expanduser()


def candidates(root: str | None, inside: list[str], well_known: list[str]) -> list[Path]:
    """Folders to search, first the home folder, then `inside` it, then `well_known` folders unless `root` is set."""
    base = home(root)
    return [base, *(base / name for name in inside), *([] if root else map(Path, well_known))]


@contextlib.contextmanager
def alone(folder: Path, name: str = "") -> Iterator[None]:
    """A context that only one process at a time can enter per `folder` and `name`, so that ranks do not download or
    decode the same files simultaneously; without locks in the file system, all can."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f".{name}.lock" if name else folder / ".lock", "w") as lock:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fetch(name: str, root: str | None) -> None:
    """Downloads the data set `name`, a class of torchvision.datasets, to the home folder."""
    import torchvision.datasets

    folder = home(root)
    try:
        with alone(folder):
            getattr(torchvision.datasets, name)(str(folder), download=True)
    except (OSError, RuntimeError) as error:
        raise UserError(f"{name} could not be downloaded to {folder}: {first_line(error)}") from None
