"""Reads the layout of a folder: labels come from a table if there is one, otherwise from class folders if any."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from genmods.core.errors import UserError
from genmods.core.label_kinds import LabelKind
from genmods.core.printable import counted
from genmods.data.folder.cells import number
from genmods.data.folder.labels import Label
from genmods.data.folder.layout import SPLITS, Layout, Reading
from genmods.data.folder.metadata import SUFFIXES
from genmods.data.folder.tabled import by_tables
from genmods.data.walk import walk

_NAMES = frozenset(f"metadata{suffix}" for suffix in SUFFIXES)


def read_layout(root: Path, how: Reading) -> Layout:
    """The images in `root` by split, with their labels.

    Raises:
        UserError: If the folder does not exist or has no images, or if its labels are inconsistent.
    """
    found = _read(root, how)
    alike: dict[str, list[str]] = {}
    for name in found.names:
        alike.setdefault(_meaning(name), []).append(name)
    found.notes += [
        f"{root}: classes may be the same: {', '.join(names)}" for names in alike.values() if len(names) > 1
    ]
    if (folders := _folders(root))["train"] != root:
        others = [p for p in sorted(root.iterdir()) if p.is_dir() and p not in folders.values() and p.name[0] != "."]
        counts = {p: len(walk(p)) for p in others}
        found.notes += [
            f"{p}: not used: {counted(n, 'image')} outside the folders of splits" for p, n in counts.items() if n
        ]
    return found


def _meaning(name: str) -> str:
    """A name regardless of case, of the form of accents, of blanks, and of the form of a number."""
    value = number(name)
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split()) if value is None else str(value)


def _folders(root: Path) -> dict[str, Path]:
    """The folders of splits; the whole folder is the training data if none has a name for it."""
    named = {SPLITS[p.name.lower()]: p for p in sorted(root.iterdir()) if p.name.lower() in SPLITS and p.is_dir()}
    return named if "train" in named else {"train": root}


def _read(root: Path, how: Reading) -> Layout:
    if not root.is_dir():
        raise UserError(f"data.root: there is no folder {root}")
    folders = _folders(root)
    paths = {split: walk(folder) for split, folder in folders.items()}
    if not paths["train"]:
        raise UserError(f"data.root: there are no images in {folders['train']}")
    if how.labels is False:
        return Layout(paths, origin="no labels")
    places = list(dict.fromkeys([root, *folders.values()]))
    if tables := _tables(root, places, how.labels):
        return by_tables(root, folders, paths, tables, how)
    if given := [each.name for each in fields(how) if each.name != "labels" and getattr(how, each.name)]:
        raise UserError(f"data.{given[0]}: there is no metadata.csv in {root}; data.labels selects another table")
    found = _by_folders(folders, paths)
    beside = [path for place in places for path in sorted(place.iterdir()) if path.suffix.lower() in SUFFIXES]
    found.notes += [
        f"{path}: not used ({found.origin}); data.labels: {path.relative_to(root)} uses its labels" for path in beside
    ]
    return found


def _tables(root: Path, places: list[Path], labels: bool | str) -> list[Path]:
    """The table set in the recipe, or the tables in `places` with the name metadata."""
    if isinstance(labels, str):
        candidates = [root / Path(labels).expanduser(), Path(labels).expanduser()]
        found = next((path for path in candidates if path.is_file()), None)
        if found is None:
            raise UserError(f"data.labels: there is no file {candidates[0]}")
        return [found]
    tables: list[Path] = []
    for place in places:
        names = sorted(path.name for path in place.iterdir() if path.is_file())
        here = [place / name for name in names if name.lower() in _NAMES]
        if len(here) > 1 or (here and root in (table.parent for table in tables)):
            raise UserError(f"{here[-1]}: there is also {[*tables, *here][0]}; data.labels selects one of them")
        tables += here
    return tables


def _by_folders(folders: dict[str, Path], paths: dict[str, list[Path]]) -> Layout:
    """Labels by the names of subfolders; none if no image is in a subfolder."""
    below = {split: [path.relative_to(folders[split]).parts for path in files] for split, files in paths.items()}
    subfolders = sorted(p.name for p in folders["train"].iterdir() if p.is_dir() and not p.name.startswith("."))
    if all(len(parts) == 1 for part in below.values() for parts in part):
        return Layout(paths, origin="no class folders")
    names = sorted({parts[0] for parts in below["train"]})
    labeled = [split for split, part in below.items() if split != "test" or _has_classes(part, names)]
    for split in labeled:
        for path, parts in zip(paths[split], below[split], strict=True):
            if len(parts) == 1:
                raise UserError(f"{path}: is outside the class folders; data.labels: false uses no labels")
    place = {name: k for k, name in enumerate(names)}
    for split in labeled:
        for path, parts in zip(paths[split], below[split], strict=True):
            if parts[0] not in place:
                raise UserError(f"{path}: there is no class {parts[0]!r} among the training images")
    labels: dict[str, list[Label]] = {split: [place[parts[0]] for parts in below[split]] for split in labeled}
    empty = [name for name in subfolders if name not in place and folders["train"] / name not in folders.values()]
    return Layout(paths, labels, "class", names, empty=empty, origin="class folders")


def _has_classes(part: list[tuple[str, ...]], names: list[str]) -> bool:
    """Whether the paths in a test folder begin with classes; not if they lie in one folder of another name."""
    folders = {parts[0] for parts in part if len(parts) > 1}
    return len(folders) > 1 or bool(folders & {*names})


def kind_of_labels(settings: Mapping[str, Any]) -> LabelKind | None:
    """The kind of labels of `image_folder` with `settings`; None if its folder does not exist.

    Raises:
        UserError: If the folder has no images, or its labels are inconsistent.
    """
    root = Path(settings["root"]).expanduser()
    if not root.is_dir():
        return None
    found = read_layout(root, Reading.of(settings))
    if found.problems and settings["on_error"] == "stop":
        raise UserError(*found.refusal())
    return found.kind
