"""What a folder of images holds, and the settings by which that is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from genmods.core.label_kinds import LabelKind
from genmods.data.folder.labels import Label

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Names of folders, and values of the column `split`, in lower case."""


@dataclass(frozen=True)
class Reading:
    """How the labels of a folder are found: the settings of `image_folder` about them."""

    labels: bool | str = True
    targets: tuple[str, ...] = ()
    label_kind: LabelKind | None = None
    separator: str | None = None
    file_column: str | None = None
    split_column: str | None = None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Reading:
        """The settings among those of `image_folder`."""
        chosen = {each.name: settings[each.name] for each in fields(cls) if settings.get(each.name) is not None}
        targets = chosen.get("targets", ())
        return cls(**chosen | {"targets": (targets,) if isinstance(targets, str) else tuple(targets)})


@dataclass
class Layout:
    """What a folder holds.

    Attributes:
        paths: The files by split.
        labels: Their labels by split; a split without labels is not among them.
        kind: What the labels are.
        names: The names of the classes, of the labels, or of the numbers.
        columns: The column of the images and that of the class or labels; "" where each label has its own.
        empty: Class folders without an image.
        problems: One line for each row that cannot be used.
        told: Lines on what may not be as one expects.
        origin: Where the labels come from.
        tables: The tables that they were read from.
    """

    paths: dict[str, list[Path]]
    labels: dict[str, list[Label]] = field(default_factory=dict)
    kind: LabelKind = "none"
    names: list[str] = field(default_factory=list)
    columns: tuple[str, str] = ("image", "class")
    empty: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    origin: str = ""
    tables: tuple[Path, ...] = ()

    def refusal(self) -> str:
        """The problems in one line, or one each."""
        if len(self.problems) == 1:
            return f"{self.problems[0]}; data.on_error: skip leaves it out"
        listed = "\n  ".join(self.problems)
        return f"{len(self.problems):,} rows cannot be used; data.on_error: skip leaves them out:\n  {listed}"
