"""Pointers that Git LFS leaves in the place of files that were not fetched."""

from __future__ import annotations

from pathlib import Path

_BEGIN = b"version https://git-lfs.github.com/spec/"
ADVICE = "is a pointer of Git LFS; `git lfs pull` fetches the file"


def is_pointer(path: str | Path) -> bool:
    """Whether a file is such a pointer."""
    try:
        with open(path, "rb") as file:
            return file.read(len(_BEGIN)) == _BEGIN
    except OSError:
        return False
