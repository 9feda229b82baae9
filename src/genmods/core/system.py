"""Errors of the operating system in one line: the operation, the file, and the free space."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from genmods.core.errors import first_line
from genmods.core.memory import free_memory

_FULL = (errno.ENOSPC, errno.EDQUOT)
_MEMORY = re.compile(
    r"can't allocate memory: you tried to allocate (\d+) bytes|[Tt]ried to allocate ([\d.]+ \w+)"
    r"|could not (?:create|execute) a primitive\s*$|could not create a memory object"
    r"|bad_alloc|[Cc]annot allocate memory"
)
"""Errors of torch, CUDA, oneDNN, the C++ library and the operating system, some with the number of bytes."""
_TIGHT = 64 << 20
"""Free bytes below which a library that cannot be loaded, or an error of the interpreter, is put down to them."""
_WRITE = re.compile(r"inline_container|PytorchStreamWriter|unexpected pos \d+")


class FullDisk(OSError):
    """There is not enough space for a file.

    Args:
        path: The file.
        needed: Its size in bytes.
    """

    def __init__(self, path: Path, needed: int) -> None:
        super().__init__(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        self.needed = needed


def system_error(error: BaseException) -> str | None:
    """An error of the operating system in one line; None for any other error."""
    if isinstance(error, OSError) and error.errno is not None:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or os.strerror(error.errno)}{_room(error)}"
    if isinstance(error, MemoryError):
        return f"out of memory{_memory()}; try a smaller batch size"
    if isinstance(error, RuntimeError) and (asked := _MEMORY.search(str(error))):
        size = f"{int(asked[1]):,} bytes" if asked[1] else asked[2]
        requested = f": {size} were requested" if size else ""
        return f"out of memory{requested}{_memory()}; try a smaller batch size"
    if isinstance(error, ImportError | SystemError) and free_memory() < _TIGHT:
        return f"out of memory{_memory()}: {' '.join(str(error).split())[:120]}"
    if isinstance(error, RuntimeError) and _WRITE.search(str(error)):
        return f"a checkpoint could not be written: {first_line(error)[:120]}"
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator raised `error`, of the CPU or of a device."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and bool(_MEMORY.search(str(error))))


def _room(error: OSError) -> str:
    """The free space where a file did not fit, and the space needed if known."""
    if error.errno not in _FULL or not error.filename:
        return ""
    needed = f"{error.needed:,} bytes are needed, " if isinstance(error, FullDisk) else ""
    if left := free(Path(error.filename)):
        room, files = left
        return (
            f" ({needed}{room:,} bytes are free{', no inodes are left' if files == 0 else ''}); existing files are kept"
        )
    return ""


def free(path: Path) -> tuple[int, int] | None:
    """Free bytes and inodes for a user on the file system of `path`; None if the system does not report them."""
    place = next((parent for parent in (path, *path.absolute().parents) if parent.is_dir()), None)
    if place is None or not hasattr(os, "statvfs"):
        return None
    found = os.statvfs(place)
    return found.f_bavail * found.f_frsize, found.f_favail if found.f_files else -1


def _memory() -> str:
    """The free memory, if the system reports it and there is enough left to ask."""
    try:
        free = free_memory()
    except MemoryError:
        return ""
    return f", {free:,} bytes are free" if free < 1 << 62 else ""
