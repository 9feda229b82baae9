"""A folder that one process at a time writes to: a lock that ends with its process, and no leftovers of dead ones."""

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
"""Descriptors of this process's locks."""


def _close_in_child() -> None:
    """A forked worker does not keep the lock when its parent dies."""
    for descriptor in _held:
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Within the block this process alone owns `folder`, which is made; parts of files that dead processes left in it
    are removed.

    Raises UserError, with the process and its host, while another one owns it. Without locks in the file system or the
    operating system nothing is refused.
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
    """The descriptor of the lock of `folder`; None where there are no locks."""
    try:
        import fcntl
    except ImportError:
        return None
    path = folder / _NAME
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
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
        os.close(descriptor)  # its owner removed it in between
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
    """Remove what `replacing` left in `folder`, and in the folders in it, when its process was killed."""
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
    except OSError:  # it is somebody else's
        return True
    return process != os.getpid()
