"""Finds image files by name, without opening them and without heavy imports."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from genmods.core.errors import UserError
from genmods.core.printable import counted

_log = logging.getLogger(__name__)
HEIC = frozenset([".heic", ".heif"])
"""Formats of phones; require pillow-heif."""
_ALWAYS = frozenset(
    (".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".jp2", ".j2k", ".jpf", ".jpx", ".gif")
) | frozenset((".bmp", ".dib", ".ico", ".tga", ".pcx", ".tif", ".tiff", ".pbm", ".pgm", ".ppm", ".pnm", ".npy", ".npz"))
_TABLES = frozenset([".csv", ".tsv", ".jsonl", ".parquet"])
_OF_SAMPLES = frozenset(["samples.npz", "grid.png"])
"""Files of `generate` that show or hold all images of its folder."""
_OF_RESTORED = frozenset(["strips", "samples", "uncertainty"])
"""Folders of restoration commands beside their results."""


def suffixes() -> frozenset[str]:
    """The suffixes of files that are read as images, in lower case."""
    return _ALWAYS | HEIC if find_spec("pillow_heif") else _ALWAYS


def find_images(paths: Iterable[str | Path]) -> list[Path]:
    """The image files in `paths` and, sorted, in folders in `paths` at any depth; hidden files are excluded.

    Other files in these folders are counted in a warning.

    Raises UserError for a path that does not exist and for a folder without images.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            skipped: Counter[str] = Counter()
            inside = [p for p in walk(path, skipped) if not p.is_dir()]
            line = about_skipped(skipped)
            if not inside:
                raise UserError(f"{path}: no images in this folder{line and f' ({line})'}")
            if line:
                _log.warning("%s: %s", path, line)
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise UserError(f"{path}: no such file or folder")
    return found


def walk(folder: Path, skipped: Counter[str] | None = None) -> list[Path]:
    """All paths in `folder` with the suffix of an image file, sorted, without hidden files.

    All other files except tables are counted in `skipped` by suffix. Symbolic links are followed; each folder is
    visited once; folders with the suffix of an image file are not visited. In the folder of `generate`, only the single
    images are found, not the grid and the array of all of them; in that of `denoise`, `inpaint` and `restore`, only the
    results, not strips, samples and uncertainties.
    """
    found: list[Path] = []
    read = suffixes()
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
        names = [entry.name for entry in entries]
        generated = "samples.npz" in names and any(name.startswith("00000.") for name in names)
        summaries = _OF_SAMPLES if generated else _OF_RESTORED if _is_restored(here, names) else frozenset()
        for entry in entries:
            if entry.name.startswith(".") or entry.name in summaries:
                continue
            suffix = Path(entry.name).suffix
            if suffix.lower() in read:
                found.append(Path(entry.path))
            elif _is_folder(entry):
                todo.append(Path(entry.path))
            elif skipped is not None and suffix.lower() not in _TABLES:
                skipped[suffix] += 1
    return sorted(found)


def _is_restored(folder: Path, names: list[str]) -> bool:
    """Whether a folder has a strip for each of its images, as restoration commands write it."""
    try:
        strips = os.listdir(folder / "strips") if "strips" in names else []
    except OSError:
        return False
    return bool(strips) and set(strips) <= set(names)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of symbolic links
        return False


def about_skipped(skipped: Counter[str]) -> str:
    """The number of files that are not images, by suffix, in one line, with a hint on how to read them."""
    listed = []
    for suffix, count in skipped.most_common():
        hint = ": install pillow-heif (pip install 'genmods[heic]')" if suffix.lower() in HEIC else ""
        files = counted(count, f"{suffix} file") if suffix else f"{counted(count, 'file')} without a suffix"
        listed.append(f"{files}{hint}")
    return f"skipped {', '.join(listed)}" if listed else ""
