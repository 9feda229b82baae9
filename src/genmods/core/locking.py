"""Locks on folders, so that one process at a time writes to a run; released when the process ends."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from genmods.core.errors import UserError

_NAME = ".lock"
_PART = re.compile(r"\..+\.(\d{1,9})\.part")
_held: set[int] = set()
"""Descriptors of the locks of this process."""


def _close_in_child() -> None:
    """Releases the locks in a forked worker, which may outlive its parent."""
    for descriptor in _held:
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """A context in which this process owns `folder`, which is created; partial files of dead processes are removed.

    Raises UserError, with the owner's process and host, if another process owns it. Without lock support in the file
    system or operating system, there is no check.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = _locked(folder)
    try:
        remove_leftovers(folder)
        yield
    finally:
        if descriptor is not None:
            (folder / _NAME).unlink(missing_ok=True)
            _held.discard(descriptor)
            os.close(descriptor)


def _locked(folder: Path) -> int | None:
    """The descriptor of the lock of `folder`; None if locks are not supported."""
    try:
        import fcntl
    except ImportError:
        return None
    path = folder / _NAME
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
            os.close(descriptor)
            raise UserError(f"{folder}: {owner} is writing to this folder") from None
        except OSError:
            os.close(descriptor)
            return None
        if _is_still(path, descriptor):
            break
        os.close(descriptor)  # the owner removed the file in the meantime
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    _held.add(descriptor)
    return descriptor


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def remove_leftovers(folder: Path) -> None:
    """Removes temporary files that killed processes left in `folder` and its subfolders; see `replacing`."""
    for pattern in (".*.part", "*/.*.part"):
        for path in folder.glob(pattern):
            match = _PART.fullmatch(path.name)
            if match and not _is_alive(int(match[1])):
                path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # a process of another user
        return True
    return process != os.getpid()
