"""Data sets of 8- or 16-bit images with labels, by split, and the base class of sources.

A pixel value p of a source with L grey levels represents 2p/(L - 1) - 1, so that 0 is black (-1) and L - 1 is white
(+1); rounding recovers p exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from genmods.core.batch import INPUT, LABEL, PAIRED, Batch
from genmods.core.label_kinds import LabelKind
from genmods.core.settings import Validated
from genmods.core.sizes import Size
from genmods.data.allocation import allocate
from genmods.data.kept.pixels import LazyPixels, PixelRows, in_memory
from genmods.data.preparation import Background, Fit, Preparation


@dataclass
class Images:
    """Images of one split.

    Attributes:
        pixels: uint8, or uint16 for more than 256 levels, [N, C, H, W]; in memory, or read when they are used.
        labels: Classes int64 [N], regression targets or multiple labels float [N, K], or None.
        names: The file of each image, relative to the root folder; None if the source does not read files.
        paired: The other image of each pair, of the type and shape of `pixels`; None for data without pairs.
    """

    pixels: PixelRows
    labels: Tensor | None = None
    names: list[str] | None = None
    paired: Tensor | None = None

    def __post_init__(self) -> None:
        if self.pixels.dtype not in (torch.uint8, torch.uint16) or self.pixels.ndim != 4:
            notes = f"{self.pixels.dtype} {list(self.pixels.shape)}"
            raise ValueError(f"pixels must be uint8 or uint16 [N, C, H, W], got {notes}")
        for word, values in (("label", self.labels), ("name", self.names), ("paired image", self.paired)):
            if values is not None and len(values) != len(self.pixels):
                raise ValueError(f"there must be one {word} per image, {len(self.pixels)}, got {len(values)}")

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def is_held(self) -> bool:
        """Whether the pixels are in memory, not in a file."""
        return isinstance(self.pixels, Tensor)

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels."""
        return self.pixels.nbytes

    def batch(self, indices: Tensor) -> Batch:
        """The images at `indices` (int64 [B]) as a batch, as stored."""
        batch = {INPUT: _selected(self.pixels, indices)}
        if self.paired is not None:
            batch[PAIRED] = _selected(self.paired, indices)
        return batch if self.labels is None else batch | {LABEL: self.labels.index_select(0, indices)}

    def select(self, indices: Tensor) -> Images:
        """The images at `indices` (int64), in that order."""
        labels = None if self.labels is None else self.labels[indices]
        names = None if self.names is None else [self.names[i] for i in indices.tolist()]
        paired = None if self.paired is None else _selected(self.paired, indices)
        if isinstance(self.pixels, LazyPixels):
            return Images(self.pixels.select(indices), labels, names, paired)
        return Images(_selected(self.pixels, indices), labels, names, paired)

    def in_memory(self) -> Images:
        """These images, with the pixels in memory."""
        return replace(self, pixels=in_memory(self.pixels))


def _selected(pixels: PixelRows, indices: Tensor) -> Tensor:
    if isinstance(pixels, LazyPixels):
        return pixels[indices]
    selected = allocate((len(indices), *pixels.shape[1:]), pixels.dtype)
    torch.index_select(pixels, 0, indices, out=selected)
    return selected


@dataclass
class Source(Validated):
    """The registry kind `data`: a data set of images with flat settings.

    Subclasses define `read` and, with labels, `class_names`: the names of the classes, or of the K columns of float
    labels [N, K]; without names, classes and columns are numbered.
    """

    kind_of_labels_from: ClassVar[str] = ""
    """A function that returns the kind of labels for a dict of settings, without torch, for `check`, as the text
    `module:function`; "" if none."""

    def read(self) -> dict[str, Images]:
        """The splits of the data set: "train", and "val" and "test" if they exist."""
        raise NotImplementedError

    @property
    def background(self) -> Background:
        """The colour of transparent pixels of other files, and of the border of images that are padded."""
        return "black"

    def read_at(self, size: Size | None, fit: Fit = "crop") -> dict[str, Images]:
        """`read` at a size in pixels; sources that decode files override it to resize during decoding."""
        return self.read()

    def stored_at(self, size: Size | None, fit: Fit = "crop") -> dict[str, Images]:
        """`read_at`; sources that keep decoded files leave the pixels in the file."""
        return self.read_at(size, fit)

    @property
    def preparation(self) -> Preparation | None:
        """How files were prepared; None for a source that does not read image files."""
        return None

    def prepare_as(self, preparation: Preparation) -> Source:
        """This source, with open settings about the preparation of files as in `preparation`."""
        return self

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of the labels; empty without labels."""
        return []

    @property
    def kind_of_labels(self) -> LabelKind | None:
        """The kind of labels; None infers it: "class" for integers, "multilabel" for zeros and ones, otherwise
        "numbers"."""
        return None

    @property
    def columns(self) -> tuple[str, ...]:
        """Column names of the image and of its class or labels in tables of predictions, "" if each label has a column;
        then the separator of several labels in a column."""
        return "image", "class" if self.kind_of_labels in (None, "class") else ""

    @property
    def origin(self) -> str:
        """A description of the origin of the labels, or ""."""
        return ""

    @property
    def empty_split(self) -> str:
        """The reason why a split of the source has no images."""
        return "empty folder"

    @property
    def empty_classes(self) -> list[str]:
        """Classes without images, which are not in `class_names`."""
        return []

    @property
    def left_out(self) -> str:
        """A description of what was ignored when it was read, or ""."""
        return ""

    @property
    def levels(self) -> int:
        """Number of grey levels: pixel values lie in 0 ... levels - 1."""
        return 256


def to_float(pixels: Tensor, levels: int = 256) -> Tensor:
    """Stored pixels [..., C, H, W] in 0 ... levels - 1 as float32 in [-1, 1], exact at both ends."""
    return pixels.float().div_((levels - 1) / 2).sub_(1)


def to_uint8(images: Tensor, levels: int = 256) -> Tensor:
    """Float images [..., C, H, W] in [-1, 1] (clamped) as uint8 in 0 ... levels - 1; the inverse of `to_float`."""
    return images.float().clamp(-1, 1).add(1).mul((levels - 1) / 2).round_().to(torch.uint8)


def converted(images: Images, preparation: Preparation, levels: int = 256) -> Tensor:
    """The pixels [N, C, H, W] of images with `levels` grey levels, prepared like files: size, channels and levels of
    `preparation`. Raises ValueError if the channels cannot be converted."""
    from genmods.data.formats.raster import Raster

    rows = []
    for pixels in in_memory(images.pixels):
        values = pixels.permute(1, 2, 0).numpy()
        color = values.shape[2] if values.shape[2] in (1, 3) else 0
        rows.append(torch.from_numpy(preparation.pixels(Raster(values, float(levels - 1), color=color)).copy()))
    return torch.stack(rows).to(torch.uint8 if (preparation.levels or 0) <= 256 else torch.uint16)
