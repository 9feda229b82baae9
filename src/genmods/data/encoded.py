"""Images that stay encoded, in archives or tables, and are decoded for each batch."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from annotated_types import Ge, Le
from PIL import Image
from torch import Tensor

from genmods.core.errors import UserError
from genmods.core.label_kinds import LabelKind
from genmods.core.sizes import Size, sides
from genmods.data.files import naming
from genmods.data.folder.layout import SPLITS
from genmods.data.formats.pillow import PillowFile
from genmods.data.images import Images, Source
from genmods.data.kept.pixels import LazyPixels
from genmods.data.preparation import Fit, Preparation


class Collection(NamedTuple):
    """Encoded images, their labels as text or numbers if they have any, and a text that identifies the content."""

    images: EncodedImages
    labels: Sequence[str] | Sequence[int] | None
    identity: str


class Classes(NamedTuple):
    """The names of classes: sorted texts, or numbers from 0."""

    names: list[str]

    @classmethod
    def of(cls, labels: list[Sequence[str] | Sequence[int] | None], origin: str) -> Classes:
        """The classes of the labels of all splits. Raises UserError for negative numbers."""
        found = sorted({str(label) for some in labels if some is not None for label in some})
        if not found or not all(re.fullmatch(r"[+-]?\d{1,9}", label) for label in found):
            return cls(found)
        numbers = sorted(map(int, found))
        if numbers[0] < 0 or numbers[-1] >= 1_000_000:
            raise UserError(f"{origin}: a class must be a number from 0 to 999,999, got {numbers[0]} to {numbers[-1]}")
        return cls([str(number) for number in range(numbers[-1] + 1)])

    def numbers(self, labels: Sequence[str] | Sequence[int]) -> Tensor:
        """The classes int64 [N] of labels."""
        place = {name: k for k, name in enumerate(self.names)}
        known = [place[text] if (text := str(label)) in place else place[str(int(label))] for label in labels]
        return torch.tensor(known, dtype=torch.int64)


class EncodedImages(Protocol):
    """A collection of encoded images."""

    def __len__(self) -> int: ...

    def name(self, number: int) -> str:
        """The name of an image in messages and tables."""
        ...

    def read(self, number: int) -> bytes:
        """The content of an image file."""
        ...


class EncodedPixels(LazyPixels):
    """Images [N, C, H, W] of 8 bits that are decoded and prepared at each access.

    Args:
        images: The encoded images.
        preparation: How they are prepared; size and channels are set.
        identity: A text that identifies their content.
        exact: Whether images of another size are refused rather than fitted.
        rows: Numbers of the N images, int64 [N]; None for all.
    """

    dtype = torch.uint8

    def __init__(
        self,
        images: EncodedImages,
        preparation: Preparation,
        identity: str,
        exact: bool = False,
        rows: np.ndarray | None = None,
    ) -> None:
        assert preparation.size is not None and preparation.channels is not None
        self._images, self._preparation, self.identity, self._exact = images, preparation, identity, exact
        self._rows = np.arange(len(images)) if rows is None else rows
        self.shape = (len(self._rows), preparation.channels, *preparation.size)

    def __getitem__(self, which: Tensor | slice) -> Tensor:
        rows = self._rows[which if isinstance(which, slice) else which.numpy()]
        pixels = np.empty((len(rows), *self.shape[1:]), np.uint8)
        for place, number in enumerate(rows.tolist()):
            name = self._images.name(number)
            with naming(name):
                pixels[place] = decoded(self._images.read(number), self._preparation, name, self._exact)
        return torch.from_numpy(pixels)

    def select(self, indices: Tensor | slice) -> EncodedPixels:
        rows = self._rows[indices if isinstance(indices, slice) else indices.numpy()]
        return EncodedPixels(self._images, self._preparation, self.identity, self._exact, rows)


@dataclass(kw_only=True)
class EncodedSource(Source):
    """Base of the sources whose images stay encoded; they are decoded for each batch if they do not fit into memory.

    Subclasses define `collections`.

    Args:
        channels: 1 (grey) or 3 (RGB).
        background: The colour of transparent pixels and of the border of `fit: pad`.
        max_pixels: The largest number of pixels of an image.
    """

    channels: Literal[1, 3] = 3
    background: Literal["white", "black"] = "white"
    max_pixels: Annotated[int, Ge(1), Le(10**10)] = 80_000_000

    def __post_init__(self) -> None:
        self._used: Preparation | None = None

    @cached_property
    def collections(self) -> dict[str, Collection]:
        """The images by split."""
        raise NotImplementedError

    @cached_property
    def _classes(self) -> Classes:
        return Classes.of([one.labels for one in self.collections.values()], self.origin)

    @property
    def class_names(self) -> list[str]:
        return self._classes.names

    @property
    def kind_of_labels(self) -> LabelKind:
        return "class" if self.class_names else "none"

    @property
    def preparation(self) -> Preparation | None:
        return self._used

    def prepare_as(self, preparation: Preparation) -> EncodedSource:
        match preparation.channels:
            case 1 | 3 as channels:
                return replace(self, channels=channels)
            case _:
                return self

    def read(self) -> dict[str, Images]:
        return self.read_at(None)

    def read_at(self, size: Size | None, fit: Fit = "crop") -> dict[str, Images]:
        return {split: images.in_memory() for split, images in self.stored_at(size, fit).items()}

    def stored_at(self, size: Size | None, fit: Fit = "crop") -> dict[str, Images]:
        if size is None:
            first = next(iter(self.collections.values())).images
            with naming(first.name(0)):
                sides_of = opened(first.read(0), first.name(0)).size
        else:
            sides_of = sides(size)
        self._used = Preparation(sides_of, self.channels, fit, self.background, None, 256, self.max_pixels)
        splits = {}
        for split, one in self.collections.items():
            labels = None if one.labels is None else self._classes.numbers(one.labels)
            splits[split] = Images(EncodedPixels(one.images, self._used, one.identity, size is None), labels)
        return splits


def by_split(root: Path, pattern: str) -> dict[str, list[Path]]:
    """The files in a folder at any depth by split, which a folder or the beginning of a name (`val-0.tar`) gives.

    Raises UserError if there are none, or none for training.
    """
    if not root.is_dir():
        raise UserError(f"data.root: there is no folder {root}")
    found: dict[str, list[Path]] = {}
    for path in sorted(root.rglob(pattern)):
        words = [re.split(r"[-_.]", path.name)[0], *path.relative_to(root).parts[:-1]]
        split = next((SPLITS[word.lower()] for word in words if word.lower() in SPLITS), "train")
        found.setdefault(split, []).append(path)
    if "train" not in found:
        raise UserError(f"data.root: there are no files {pattern} for training in {root}")
    return found


def opened(content: bytes, name: str) -> PillowFile:
    """An encoded image with its header read."""
    image: Any = Image.open(io.BytesIO(content))
    if image.format == "PNG":
        image.format = None  # the header of 16-bit PNG files is read from a file
    return PillowFile(Path(name), image)


def decoded(content: bytes, preparation: Preparation, name: str, exact: bool = False) -> np.ndarray:
    """An encoded image as uint8 [C, H, W]; raises UserError if it is too large, or, if `exact`, of another size."""
    file = opened(content, name)
    height, width = file.size
    if height * width > preparation.max_pixels:
        raise UserError(f"{name}: must have at most {preparation.max_pixels:,} pixels, got {width} x {height}")
    assert preparation.size is not None
    if exact and file.size != preparation.size:
        first = f"{preparation.size[1]} x {preparation.size[0]}"
        raise UserError(
            f"{name}: has {width} x {height} pixels (width x height), but the first image has {first}; "
            "set data.image_size to resize images of different sizes"
        )
    return preparation.pixels(file.read((2 * preparation.size[0], 2 * preparation.size[1])))
