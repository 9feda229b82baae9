"""Atomically written files, and the cache folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Context that yields a temporary path for the new content of `path`, which replaces `path` at the end.

    Readers see either the old or the new file. If the block fails, the temporary file is removed. A symbolic link in
    the place of either is replaced, so that nothing is written to its target.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.{os.getpid()}.part")
    with suppress(OSError):
        staged.unlink(missing_ok=True)
    try:
        yield staged
        staged.replace(path)
    except OSError as error:
        if error.filename in (None, str(staged)):  # report the destination, not the temporary file
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):
            staged.unlink(missing_ok=True)


def copy(source: Path, target: Path) -> None:
    """Copy `source` to `target`, as a hard link if the file system supports it."""
    with replacing(target) as staged:
        try:
            os.link(source, staged)
        except OSError:
            shutil.copyfile(source, staged)


def cache(*parts: str) -> Path:
    """A folder in $GENMODS_CACHE, or in genmods of $XDG_CACHE_HOME or ~/.cache; it need not exist."""
    standard = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "genmods"
    return Path(os.environ.get("GENMODS_CACHE") or standard, *parts).expanduser()
