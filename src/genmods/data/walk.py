"""Finds image files by name, without opening them and without heavy imports."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from genmods.core.errors import UserError

SUFFIXES = frozenset(
    [".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm", ".pnm", ".avif", ".jp2"]
)


def find_images(paths: Iterable[str | Path]) -> list[Path]:
    """The image files among `paths` and, sorted, in folders among them at any depth; hidden files are excluded.

    Raises UserError for a path that does not exist and for a folder without images.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = [p for p in walk(path) if not p.is_dir()]
            if not inside:
                raise UserError(f"{path}: no images in this folder")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise UserError(f"{path}: no such file or folder")
    return found


def walk(folder: Path) -> list[Path]:
    """All paths below `folder` with the name of an image file, sorted, without hidden names.

    Symbolic links are followed; each folder is visited once; folders with the name of an image file are not visited.
    """
    found: list[Path] = []
    entered: set[str] = set()
    todo = [folder]
    while todo:
        here = todo.pop()
        real = os.path.realpath(here)
        if real in entered:
            continue
        entered.add(real)
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            raise UserError(f"{here}: {(error.strerror or str(error)).lower()}") from None
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if Path(entry.name).suffix.lower() in SUFFIXES:
                found.append(Path(entry.path))
            elif _is_folder(entry):
                todo.append(Path(entry.path))
    return sorted(found)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of symbolic links
        return False
