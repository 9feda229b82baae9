"""Data sets of Hugging Face's library `datasets`: a folder saved by it, or Parquet files with a column of images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from genmods.core.atomic import cache
from genmods.core.errors import UserError, nearest
from genmods.data.encoded import Collection, EncodedSource, by_split
from genmods.data.folder.layout import SPLITS
from genmods.data.kept.files import stamp


class Column:
    """The encoded images of a data set's column, whose cells are {bytes, path} or bytes."""

    def __init__(self, table: Any, column: str, split: str) -> None:
        self._table, self._column, self._split = table, column, split

    def __len__(self) -> int:
        return len(self._table)

    def name(self, number: int) -> str:
        """The split and the number of the row."""
        return f"{self._split}/{number}"

    def read(self, number: int) -> bytes:
        """The content of an image file."""
        cell = self._table[number][self._column]
        content = cell.get("bytes") if isinstance(cell, dict) else cell
        if content is None and isinstance(cell, dict) and cell.get("path"):
            content = Path(cell["path"]).read_bytes()
        if not isinstance(content, bytes):
            raise ValueError(f"has no image in the column '{self._column}'")
        return content


@dataclass
class HFDataset(EncodedSource):
    """A folder of `datasets`' save_to_disk, a Parquet file, or a folder of Parquet files; requires `datasets`.

    Splits are those of a saved DatasetDict, or the beginnings of the names of Parquet files (train-00000.parquet), or
    their folders. Parquet files are converted once, in the cache folder, to the format that is read at random. Images
    of more than 8 bits are reduced to 8 bits.

    Args:
        root: The folder or file.
        image: The column of images; by default the only one.
        label: The column of classes, names or numbers; by default that of type ClassLabel, or `label`. "" for no
            labels.
        channels: 1 (grey) or 3 (RGB).
        background: The colour of transparent pixels and of the border of `fit: pad`.
        max_pixels: The largest number of pixels of an image.
    """

    root: str = "dataset"
    image: str | None = None
    label: str | None = None

    @cached_property
    def collections(self) -> dict[str, Collection]:
        root = Path(self.root).expanduser()
        tables = _tables(root)
        first = next(iter(tables.values()))
        image, label = self._image(first), self._label(first)
        found = {}
        for split, table in tables.items():
            feature = table.features.get(label)
            labels = table[label] if label else None
            if labels is not None and hasattr(feature, "names"):
                labels = [feature.names[number] if number >= 0 else None for number in labels]
            if labels is not None and None in (labels := list(labels)):
                if split == "train":
                    raise UserError(f"{root}: row {labels.index(None)} of {split} has no {label}")
                labels = None
            if odd := [cell for cell in labels or () if not _is_class(cell)]:
                raise UserError(f"{root}: {label} must be a class, got {odd[0]}; data.label: '' reads no labels")
            identity = f"{split} {len(table)} {table._fingerprint}"
            found[split] = Collection(Column(_encoded(table, image), image, split), labels, identity)
        return found

    @property
    def origin(self) -> str:
        return f"{self.root}, column {self.label or 'of labels'}"

    def _image(self, table: Any) -> str:
        if self.image is not None:
            if self.image not in table.features:
                raise UserError(f"data.image: there is no column '{self.image}'{nearest(self.image, table.features)}")
            return self.image
        found = [name for name, feature in table.features.items() if _is_image(feature)]
        if len(found) != 1:
            names = ", ".join(found or table.features)
            raise UserError(f"data.image must be a column of images of {self.root}; choose from {names}")
        return found[0]

    def _label(self, table: Any) -> str | None:
        if self.label == "":
            return None
        if self.label is not None:
            if self.label not in table.features:
                raise UserError(f"data.label: there is no column '{self.label}'{nearest(self.label, table.features)}")
            return self.label
        found = [name for name, feature in table.features.items() if hasattr(feature, "names")]
        return found[0] if len(found) == 1 else "label" if "label" in table.features else None


def _tables(root: Path) -> dict[str, Any]:
    """The data sets by split; "train" is the first."""
    try:
        import datasets
    except ImportError:
        raise UserError(f"{root} requires the package datasets: pip install 'genmods[datasets]'") from None
    datasets.disable_progress_bars()
    if not root.exists():
        raise UserError(f"data.root: there is no folder {root}")
    try:
        if root.is_file() or not any((root / name).is_file() for name in ("state.json", "dataset_dict.json")):
            found = _parquet(datasets, root)
        else:
            loaded = datasets.load_from_disk(str(root))
            found = dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{root}: cannot be read by datasets: {' '.join(str(error).split())[:200]}") from None
    named = {SPLITS.get(str(name).lower(), str(name)): table for name, table in found.items()}
    if "train" not in named:
        raise UserError(f"{root}: has no split train, only {', '.join(named)}")
    return {"train": named["train"], **{split: named[split] for split in ("val", "test") if split in named}}


def _parquet(datasets: Any, root: Path) -> dict[str, Any]:
    splits = {"train": [root]} if root.is_file() else by_split(root, "*.parquet")
    found = {}
    for split, paths in splits.items():
        files = [str(path) for path in paths]
        state = hashlib.blake2b(repr([(path, stamp(path)) for path in paths]).encode(), digest_size=16).hexdigest()
        found[split] = datasets.Dataset.from_parquet(files, cache_dir=str(cache("datasets") / state))
    return found


def _is_class(label: Any) -> bool:
    """Whether a cell is a class: text, an integer, or a truth value."""
    return not isinstance(label, list | dict | bytes) and not (isinstance(label, float) and not label.is_integer())


def _is_image(feature: Any) -> bool:
    names = set(feature) if isinstance(feature, dict) else set()
    return type(feature).__name__ == "Image" or names == {"bytes", "path"} or getattr(feature, "dtype", "") == "binary"


def _encoded(table: Any, column: str) -> Any:
    """The data set with the column not decoded."""
    import datasets

    kept = table.select_columns([column])
    if type(kept.features[column]).__name__ == "Image":
        kept = kept.cast_column(column, datasets.Image(decode=False))
    return kept
