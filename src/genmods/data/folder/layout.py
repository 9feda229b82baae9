"""The contents of a folder of images, and the settings that determine how it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from genmods.core.label_kinds import LabelKind
from genmods.core.printable import counted
from genmods.data.folder.labels import Label

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Names of split folders, and values of the column `split`, in lower case."""


_TOLD = 20


@dataclass(frozen=True)
class Reading:
    """The settings of `image_folder` about labels."""

    labels: bool | str = True
    targets: tuple[str, ...] = ()
    label_kind: LabelKind | None = None
    separator: str | None = None
    file_column: str | None = None
    split_column: str | None = None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Reading:
        """These settings among all settings of `image_folder`."""
        chosen = {each.name: settings[each.name] for each in fields(cls) if settings.get(each.name) is not None}
        targets = chosen.get("targets", ())
        return cls(**chosen | {"targets": (targets,) if isinstance(targets, str) else tuple(targets)})


@dataclass
class Layout:
    """The contents of a folder.

    Attributes:
        paths: Files by split.
        labels: Labels by split, for splits with labels.
        kind: The kind of labels.
        names: The names of the classes, labels or numbers.
        columns: The columns of the image and of the class or labels, "" if each label has its own column; then the
            separator of several labels in a column.
        empty: Class folders without images.
        problems: One line per row that cannot be used.
        notes: Messages about unexpected properties of the folder.
        origin: The origin of the labels.
        tables: The tables of labels.
    """

    paths: dict[str, list[Path]]
    labels: dict[str, list[Label]] = field(default_factory=dict)
    kind: LabelKind = "none"
    names: list[str] = field(default_factory=list)
    columns: tuple[str, ...] = ("image", "class")
    empty: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    origin: str = ""
    tables: tuple[Path, ...] = ()

    def refusal(self) -> list[str]:
        """The problems as the lines of an error message."""
        count = len(self.problems)
        if count == 1:
            return [f"{self.problems[0]}; data.on_error: skip ignores the row"]
        more = [f"and {count - _TOLD:,} more"] if count > _TOLD else []
        first = f"{counted(count, 'row')} cannot be used; data.on_error: skip ignores them:"
        return [first, *self.problems[:_TOLD], *more]
