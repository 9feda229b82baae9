"""Checkpoint files: plain data with a checksum, written atomically.

A file is written next to its destination, synced to disk and renamed. The checksum covers every key, number and tensor,
so that a single corrupted byte is detected. Content is validated before use: its size must match that of the file, it
must be plain data, and all floating-point numbers must be finite.
"""

from __future__ import annotations

import errno
import hashlib
import os
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genmods.core import plain
from genmods.core.atomic import replacing
from genmods.core.errors import UserError, first_line
from genmods.core.system import FullDisk, free

FORMAT = 2
"""The format version of checkpoints and exported models; other versions are refused."""
CHECKSUM_KEY, FORMAT_KEY = "genmods_checksum", "genmods_format"
"""The keys of checksum and format version in checkpoints, safetensors headers and config files."""


def _chunks(value: Any) -> Iterator[bytes]:
    if isinstance(value, Tensor):
        yield f"{value.dtype}{tuple(value.shape)}".encode()
        flat = value.detach().cpu().contiguous().reshape(-1)
        yield flat.view(torch.uint8).numpy().tobytes()
    elif isinstance(value, dict):
        yield f"dict{len(value)}".encode()
        for key, item in value.items():
            yield repr(key).encode()
            yield from _chunks(item)
    elif isinstance(value, list | tuple):
        yield f"{type(value).__name__}{len(value)}".encode()
        for item in value:
            yield from _chunks(item)
    else:
        yield repr(value).encode()


def digest(value: Any) -> str:
    """The BLAKE2b hash, 32 hexadecimal digits, of a tree of dictionaries, lists, numbers, strings and tensors [...]."""
    hasher = hashlib.blake2b(digest_size=16)
    for chunk in _chunks(value):
        hasher.update(chunk)
    return hasher.hexdigest()


def save(checkpoint: dict[str, Any], path: str | Path) -> None:
    """Write `checkpoint` atomically to `path` with its checksum.

    Raises UserError if it contains anything but dictionaries, lists, numbers, strings and tensors of any shape.
    """
    path, content = Path(path), {**checkpoint, FORMAT_KEY: FORMAT}
    if fault := plain.fault(content):
        raise UserError(f"{path}: not written, {fault}")
    with replacing(path) as staged:
        try:
            with staged.open("wb") as file:
                torch.save({**content, CHECKSUM_KEY: digest(content)}, file)
                file.flush()
                os.fsync(file.fileno())
            with zipfile.ZipFile(staged) as archive:
                plain.check_pickle(archive.infolist())
        except ValueError as error:
            raise UserError(f"{path}: not written, {error}") from None
        except (OSError, RuntimeError) as error:  # torch hides the error number
            needed, left = plain.size(content), free(path)
            if (isinstance(error, RuntimeError) or error.errno == errno.ENOSPC) and left and left[0] < needed:
                raise FullDisk(path, needed) from error
            raise
    if os.name == "posix":  # other systems cannot open a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def load(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, as plain data only, and verify its checksum.

    Raises UserError if the file is missing, damaged, not a checkpoint of genmods, or of another format version.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such checkpoint")
    try:
        nodes = plain.nodes_of(Path(path))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = first_line(error)[:120]
        raise UserError(f"{path}: not a readable checkpoint ({reason})") from None
    if not isinstance(content, dict) or CHECKSUM_KEY not in content:
        raise UserError(f"{path}: not a checkpoint written by genmods")
    check_format(path, content.get(FORMAT_KEY))
    if fault := plain.fault(content, nodes, os.path.getsize(path)):
        raise UserError(f"{path}: not a readable checkpoint, {fault}")
    checksum, state = content.pop(CHECKSUM_KEY), _state(path)
    if state not in _verified and checksum != digest(content):
        raise UserError(f"{path}: damaged, its content does not match its checksum")
    _verified[:] = [state]
    del content[FORMAT_KEY]
    return content


_verified: list[tuple[Any, ...]] = []
"""The last file whose checksum was verified; verification precedes reading."""


def _state(path: str | Path) -> tuple[Any, ...]:
    """The properties that change with the content of a file."""
    found = os.stat(path)
    return os.path.abspath(path), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def check_format(path: str | Path, found: Any) -> None:
    """Raise UserError if the format version `found` of the file `path` is not supported; None is the oldest."""
    if type(found) is int and found > FORMAT:
        raise UserError(f"{path}: written by a newer version of genmods (format {found}, this one reads {FORMAT})")
    if found != FORMAT:
        raise UserError(f"{path}: written by an older version of genmods; train the model again")
