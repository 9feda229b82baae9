"""Files that are written whole or not at all, and the folder for what can be made again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The place beside `path` where its new content is written; at the end of the block it takes the name `path`.

    A reader sees the old file or the new one, never half of one. Where the block fails nothing is left of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield staged
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)


def copy(source: Path, target: Path) -> None:
    """Give the content of `source` the name `target` too, without a second copy of it where the file system can."""
    with replacing(target) as staged:
        try:
            os.link(source, staged)
        except OSError:
            shutil.copyfile(source, staged)


def cache(*parts: str) -> Path:
    """A folder under $GENMODS_CACHE, or under genmods in $XDG_CACHE_HOME or ~/.cache; it need not be there."""
    standard = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "genmods"
    return Path(os.environ.get("GENMODS_CACHE") or standard, *parts).expanduser()
