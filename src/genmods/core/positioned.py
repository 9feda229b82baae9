"""Reading and writing at a position of a file that several threads and processes share, and reserving its space."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import IO, Any, BinaryIO

from genmods.core.system import FullDisk

_lock = threading.Lock()
"""Guards the position of files where the operating system cannot read at a position (Windows)."""


def read_at(file: BinaryIO, buffer: Any, position: int) -> None:
    """Fills `buffer`, contiguous memory, from the bytes at `position`. Raises OSError if the file is shorter."""
    view = memoryview(buffer).cast("B")
    while len(view):
        if hasattr(os, "preadv"):
            count = os.preadv(file.fileno(), [view], position)
        else:
            with _lock:
                file.seek(position)
                count = file.readinto(view)  # type: ignore[attr-defined]
        if not count:
            raise OSError(f"{file.name}: is truncated")
        view, position = view[count:], position + count


def write_at(file: BinaryIO, buffer: Any, position: int) -> None:
    """Writes `buffer`, contiguous memory, at `position`."""
    view = memoryview(buffer).cast("B")
    while len(view):
        if hasattr(os, "pwrite"):
            count = os.pwrite(file.fileno(), view, position)
        else:
            with _lock:
                file.seek(position)
                count = file.write(view)
        view, position = view[count:], position + count


def reserve(file: IO[bytes], size: int) -> None:
    """Allocates `size` bytes for a file, so that no later write fails. Raises FullDisk if there is no space."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, max(1, size))
        else:
            file.truncate(size)
    except OSError as error:
        if isinstance(file.name, str):
            raise FullDisk(Path(file.name), size) from error
        raise
