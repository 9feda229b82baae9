"""A folder of the user's images, of any size, mode and format, with labels from subfolders or a table."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Le

from genmods.core.errors import UserError
from genmods.core.label_kinds import LabelKind
from genmods.core.printable import counted, printable
from genmods.core.settings import Channels
from genmods.core.sizes import Size, sides
from genmods.data.decoding import stored_files
from genmods.data.folder.layout import Layout, Reading
from genmods.data.folder.quarantine import quarantine
from genmods.data.folder.reading import read_layout
from genmods.data.images import Images, Source
from genmods.data.preparation import Fit, Preparation
from genmods.data.walk import about_skipped, walk

_log = logging.getLogger(__name__)
_TOLD = 10


@dataclass
class ImageFolder(Source):
    """The images in `root`, resized to the `image_size` of ImageData if set.

    Subfolders train, val (or valid, validation, dev) and test are splits. Labels come from a table next to the images
    or next to those of a split, `metadata.csv`, `.jsonl` or `.parquet`, or from another file set as `labels` (also
    `.tsv`); otherwise subfolders are classes, which contain images at any depth; otherwise, or with `labels: false`,
    there are no labels. A test split without labels is used by `predict`.

    A table has a column `file_name` (or `file`, `image`, `id`, ...; `file_column`), optionally a column `split`
    (`split_column`), and labels in all other columns, or in `targets`: text is a class; columns of 0 and 1, or texts
    such as `red|round` (`separator`), are several labels; other numbers are regression targets. `label_kind` resolves
    ambiguous columns, such as classes 0, 1, 2.

    Hidden files are ignored, and other files that are not images are counted in a warning. `channels`: 1 (grey), 3
    (RGB), one more for opacity, or the number that all files have; by default 1 if all images are grey, 3 if some are
    RGB. `background` is the colour of transparent pixels and of the border of `fit: pad`. `range`: the values of black
    and white in files of more than 8 bits, or, if all have 8, in these; by default the full range of a file, or the
    bits in use if these are less than an eighth of it. 16 bits are kept. The first frame of an animation and the first
    page of a file are used; `.npy` and `.npz` contain one array [H, W], [H, W, C] or [C, H, W]. `on_error` applies to
    files that are broken or have more than `max_pixels`, and to rows of a table that have no image, no label or
    contradict each other: "stop" lists them and raises UserError, "skip" ignores, lists and counts them (`broken`),
    "quarantine" also moves broken files to the folder `root`.quarantine.
    """

    kind_of_labels_from: ClassVar[str] = "genmods.data.folder.reading:kind_of_labels"

    root: str = "images"
    labels: bool | str = True
    targets: str | list[str] = field(default_factory=list)
    label_kind: Literal["class", "multilabel", "numbers"] | None = None
    separator: str | None = None
    file_column: str | None = None
    split_column: str | None = None
    channels: Channels | None = None
    background: Literal["white", "black"] = "white"
    on_error: Literal["stop", "skip", "quarantine"] = "stop"
    max_pixels: Annotated[int, Ge(1), Le(10**10)] = 80_000_000
    range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.range is not None and self.range[0] >= self.range[1]:
            raise ValueError(f"range must increase, got {self.range[0]} to {self.range[1]}")
        self.broken: list[str] = []
        self._used: Preparation | None = None
        self._levels: int | None = None

    @property
    def class_names(self) -> list[str]:
        return self.layout.names

    @property
    def kind_of_labels(self) -> LabelKind:
        return self.layout.kind

    @property
    def columns(self) -> tuple[str, ...]:
        return self.layout.columns

    @cached_property
    def layout(self) -> Layout:
        """The files by split and their labels; logs unexpected properties."""
        settings = {each.name: getattr(self, each.name) for each in fields(self)}
        found = read_layout(Path(self.root).expanduser(), Reading.of(settings))
        if found.problems:
            if self.on_error == "stop":
                raise UserError(*found.refusal())
            _log.warning("ignored %s:\n  %s", counted(len(found.problems), "row"), "\n  ".join(found.problems))
        for line in found.notes[:_TOLD]:
            _log.warning("%s", line)
        if len(found.notes) > _TOLD:
            _log.warning("and %d more", len(found.notes) - _TOLD)
        return found

    @property
    def origin(self) -> str:
        return self.layout.origin

    @property
    def empty_split(self) -> str:
        return "no row" if self.layout.tables else super().empty_split

    @property
    def empty_classes(self) -> list[str]:
        return self.layout.empty

    def read(self) -> dict[str, Images]:
        return self.read_at(None)

    @property
    def levels(self) -> int:
        return 256 if self._used is None or self._used.levels is None else self._used.levels

    @property
    def preparation(self) -> Preparation | None:
        return self._used

    def prepare_as(self, preparation: Preparation) -> ImageFolder:
        opened = self.channels is None or self.channels == preparation.channels
        source = replace(self, channels=preparation.channels if opened else self.channels)
        if self.range is None:
            source.range, source._levels = preparation.range, preparation.levels
        return source

    def read_at(self, size: Size | None, fit: Fit = "crop") -> dict[str, Images]:
        return {split: images.in_memory() for split, images in self.stored_at(size, fit).items()}

    def stored_at(self, size: Size | None, fit: Fit = "crop") -> dict[str, Images]:
        found = self.layout
        paths = [path for files in found.paths.values() for path in files]
        wish = Preparation(
            None if size is None else sides(size),
            self.channels,
            fit,
            self.background,
            self.range,
            self._levels,
            self.max_pixels,
        )
        pixels, good, self.broken, self._used, notes = stored_files(paths, wish)
        self._report_broken([path for path, fine in zip(paths, good.tolist(), strict=True) if not fine], len(paths))
        for line in filter(None, (about_skipped(self._skipped), *notes)):
            _log.warning("%s: %s", self.root, line)
        everything = Images(pixels, names=self._relative(paths))
        places = torch.arange(len(paths)).split([len(files) for files in found.paths.values()])
        splits = {}
        for split, part in zip(found.paths, places, strict=True):
            splits[split] = everything.select(part[good[part]])
            if split in found.labels:
                dtype = torch.int64 if found.kind == "class" else torch.float32
                splits[split].labels = torch.tensor(found.labels[split], dtype=dtype)[good[part]]
        return splits

    @property
    def _skipped(self) -> Counter[str]:
        skipped: Counter[str] = Counter()
        walk(Path(self.root).expanduser(), skipped)
        return skipped

    def _relative(self, paths: list[Path]) -> list[str]:
        root = Path(self.root).expanduser()
        return [path.relative_to(root).as_posix() for path in paths]

    @property
    def left_out(self) -> str:
        return counted(len(self.broken), "broken image") if self.broken else ""

    def _report_broken(self, files: list[Path], total: int) -> None:
        if not files:
            return
        if self.on_error == "stop":
            raise UserError(
                f"{len(files):,} of {counted(total, 'image')} cannot be read; "
                "data.on_error: skip or quarantine leaves them out:",
                *self.broken,
            )
        place, faults = "", list[str]()
        if self.on_error == "quarantine":
            folder, faults = quarantine(files, Path(self.root).expanduser())
            place = f" and moved to {folder}"
        listed = "\n  ".join(map(printable, [*self.broken, *faults]))
        _log.warning(
            "skipped %d of %s, which cannot be read%s:\n  %s", len(files), counted(total, "image"), place, listed
        )
