"""The data module of images: any source, split, batched, and augmented on the training device.

Images are stored in one tensor of 8 or 16 bits; batches and augmentation are pure functions of (seed, epoch, index).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from functools import cached_property, partial
from itertools import chain
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Lt
from torch import Tensor

from genmods.core.batch import CHOICES, EPOCH, INDEX, INPUT, Batch
from genmods.core.errors import UserError
from genmods.core.label_kinds import WORDS, LabelKind
from genmods.core.memory import bytes_of, free_memory
from genmods.core.printable import counted
from genmods.core.settings import AutoBatchSize, Bytes, Pixels, Rate, Seed
from genmods.core.sizes import sides
from genmods.data.augmentation.base import Augmentation
from genmods.data.augmentation.sequence import as_float, augmented, chosen
from genmods.data.balance import Balanced
from genmods.data.base import DataModule, Workers
from genmods.data.images import Images, Source
from genmods.data.info import DataInfo
from genmods.data.kept.pixels import LazyPixels, PixelRows, chunks
from genmods.data.labeling import kind_of, label_statistics, missing, numbers_as_names, summary
from genmods.data.loader import Choices, Loader, Plan
from genmods.data.preparation import Fit, Preparation
from genmods.data.resize import resize
from genmods.data.splits import hold_out, shuffled

_log = logging.getLogger(__name__)
_SMALL = 1 << 28
_STATISTICS = 5000  # images, of those that are decoded for each batch


class ImageData(DataModule):
    """Batches of the images of a source: float32 `image` [B, C, H, W] in [-1, 1], `label`, `index` and `epoch` int64
    [B].

    `image_size` is the side of a square or [height, width]; by default, that of all images. Images of another shape are
    fitted by `fit`: "crop" takes the largest central part, "pad" adds a border, "stretch" distorts; all resize with
    antialiasing. Outside a Trainer, batches are as stored; `prepare` converts them.
    A missing val or test split is taken from the training images: `val_fraction` and `test_fraction` of them,
    stratified, by `split_seed` only, so that runs with different `seed`s share their splits. `seed`, by default that of
    the recipe, determines order and augmentation. `limit` keeps that many images per split, for quick trials.
    `sampling: balanced` draws all classes equally often. A test split without labels next to labelled training images
    is used by `predict`, not by `test`. Decoded image files are kept in the cache folder; if their pixels exceed
    `memory` (256MiB, 2GB, ...; by default half of the free memory), batches are read from there.
    """

    def __init__(
        self,
        source: Source,
        batch_size: AutoBatchSize = 128,
        augment: list[Augmentation] = [],  # noqa: B006
        image_size: Pixels | tuple[Pixels, Pixels] | None = None,
        fit: Literal["crop", "pad", "stretch"] = "crop",
        val_fraction: Rate = 0.1,
        test_fraction: Annotated[Rate, Lt("1 - val_fraction")] = 0.1,
        num_workers: Workers = 0,
        seed: Seed = 0,
        split_seed: Seed = 0,
        limit: Annotated[int, Ge(1)] | None = None,
        sampling: Literal["shuffled", "balanced"] = "shuffled",
        memory: Bytes | None = None,
    ):
        super().__init__(batch_size, num_workers, seed)
        self.source = source
        self.augment = list(augment)
        self.size = None if image_size is None else sides(image_size)
        self.fit: Fit = fit
        self.fractions = {"test": test_fraction, "val": val_fraction}
        self.split_seed = split_seed
        self.limit = limit
        self.sampling = sampling
        self.memory = None if memory is None else bytes_of(memory)
        self._absent: dict[str, str] = {}

    @cached_property
    def splits(self) -> dict[str, Images]:
        """Images by split, those of "train", "val" and "test" that exist, read at the first access."""
        return self._read()

    @property
    def data_name(self) -> str:
        return type(self.source).__name__.lower()

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, in the order of the labels; their numbers if the source names none, empty
        without labels."""
        return list(self.source.class_names) or numbers_as_names(self.splits.values())

    @property
    def preparation(self) -> Preparation:
        _, channels, *size = self.splits["train"].pixels.shape
        if (of_files := self.source.preparation) is not None:
            return of_files
        return Preparation((size[0], size[1]), channels, self.fit, self.source.background, levels=256)

    def prepare_as(self, preparation: Preparation) -> None:
        if "splits" in self.__dict__:
            raise RuntimeError("prepare_as must be called before the images are read")
        source = self.source.prepare_as(preparation)
        if source is not self.source:  # a source of image files
            self.source, self.size = source, self.size or preparation.size

    @cached_property
    def hash(self) -> str:
        """A hash of the pixels and labels of all splits, 16 hexadecimal digits."""
        digest = hashlib.blake2b(digest_size=8)
        for name, images in sorted(self.splits.items()):
            digest.update(f"{name} {list(images.pixels.shape)}".encode())
            others = [values for values in (images.labels, images.paired) if values is not None]
            digest.update(identity := getattr(images.pixels, "identity", "").encode())
            for part in chain(() if identity else chunks(images.pixels), others):
                digest.update(part.contiguous().numpy().data)
        return digest.hexdigest()

    def examples(self, most: int = 1 << 29) -> Batch:
        return super().examples(most if self.memory is None else min(most, self.memory // 2))

    @cached_property
    def info(self) -> DataInfo:
        """The properties of the training images."""
        images = self.splits["train"]
        pixels = images.pixels
        if isinstance(pixels, LazyPixels) and pixels.identity:
            pixels = pixels.select(slice(None, None, -(-len(pixels) // _STATISTICS)))
        mean, std = statistics(pixels, self.source.levels)
        if not any(std):
            raise UserError(f"{type(self.source).__name__}: all training images have the same single colour")
        return DataInfo(
            shape=tuple(images.pixels.shape[1:]),
            num_classes=len(self.class_names),
            mean=mean,
            std=std,
            levels=self.source.levels,
            class_names=self.class_names,
            columns=self.source.columns,
            label_kind=self.label_kind,
            **label_statistics(images.labels, self.label_kind, len(self.class_names)),
        )

    @cached_property
    def label_kind(self) -> LabelKind:
        """The kind of labels of the training images."""
        labels = self.splits["train"].labels
        return "none" if labels is None else self.source.kind_of_labels or kind_of(labels)

    def summary(self) -> list[str]:
        """The numbers of images by split and class."""
        return summary(self.splits, self._absent, self.class_names, self.label_kind, self.source)

    def missing(self) -> list[str]:
        return missing(self._absent, self.source) if self.splits else []

    def setup(self, stage: str) -> None:
        labels = self.splits["train"].labels  # read before training starts
        if stage == "fit" and labels is None and any(step.mixes for step in self.augment):
            names = ", ".join(type(step).__name__ for step in self.augment if step.mixes)
            raise UserError(f"data.augment: {names} requires labels, which these images do not have")
        if stage == "fit":
            self._try_augmentation()

    def _try_augmentation(self) -> None:
        """Raises UserError if an augmentation does not work for images of this shape, before training."""
        index = torch.arange(min(2, len(self.splits["train"])))
        try:
            images = self.seen(index, 0)[INPUT]
        except (ValueError, RuntimeError, TypeError) as error:
            raise UserError(f"data.augment: {' '.join(str(error).split())}") from error
        if (now := list(images.shape[1:])) != (shape := list(self.info.shape)):
            raise UserError(f"data.augment: images must keep their shape {shape}, got {now}")

    def prepare(self, batch: Batch) -> Batch:
        return as_float(batch, self.source.levels)

    def names(self, split: str) -> Sequence[str]:
        return self.splits[split].names or super().names(split)

    def arrays(self, split: str) -> tuple[PixelRows, Tensor | None] | None:
        """The pixels [N, C, H, W] of a split as stored, and its labels; None if there is no such split."""
        images = self.splits.get(split)
        return None if images is None else (images.pixels, images.labels)

    def _plan(self) -> Plan:
        if self.sampling == "shuffled":
            return super()._plan()
        if self.label_kind != "class":
            raise UserError(
                f"data.sampling: balanced requires {WORDS['class']}, but this data has {WORDS[self.label_kind]}"
            )
        labels = self.splits["train"].labels
        assert labels is not None
        return Balanced(labels, self.batch_size, self.seed, *self._rank())

    def _order(self, ranks: int) -> dict[str, Any]:
        return super()._order(ranks) | {"sampling": self.sampling}

    def test_dataloader(self) -> Loader | list:
        """Batches of the test split; an empty list if there is none, or if it lacks the labels of training images."""
        return super().test_dataloader() if self.has_labels("test") else []

    def has_labels(self, split: str) -> bool:
        return split not in self.splits or self.label_kind == "none" or self.splits[split].labels is not None

    def _choices(self) -> Choices | None:
        if not self.augment:
            return None
        total, _, height, width = self.splits["train"].pixels.shape
        choose = partial(chosen, augment=tuple(self.augment), height=height, width=width)
        return Choices(total, sum(step.num_uniforms for step in self.augment), self.seed, choose)

    @property
    def is_augmented(self) -> bool:
        return bool(self.augment)

    def seen(self, index: Tensor, epoch: int) -> Batch:
        epochs = torch.full_like(index, epoch)
        batch = self.splits["train"].batch(index) | {INDEX: index, EPOCH: epochs}
        if choices := self._choices():
            batch[CHOICES] = choices(epochs, index)
        return augmented(batch, self.augment, len(self.class_names), self.source.levels)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        training = self.trainer is not None and self.trainer.training
        augment = self.augment if training else []
        return augmented(batch, augment, len(self.class_names), self.source.levels)

    def _read(self) -> dict[str, Images]:
        splits = dict(self.source.stored_at(self.size, self.fit))
        if not splits.get("train"):
            raise UserError(f"{type(self.source).__name__}: no training images")
        total = len(splits["train"])
        self._absent = {name: self.source.empty_split for name, images in splits.items() if not len(images)}
        for name, fraction in self.fractions.items():
            if name not in splits and fraction > 0:
                train = splits["train"]
                kept, held = hold_out(train.labels, len(train), fraction * total / len(train), self.split_seed)
                splits |= {"train": train.select(kept), name: train.select(held)}
                if not len(held):
                    self._absent[name] = f"{fraction:g} of {counted(total, 'image')}"
        splits = {name: images for name, images in splits.items() if name not in self._absent}
        if self.limit is not None:
            for name, images in splits.items():
                splits[name] = images.select(shuffled(len(images), self.split_seed, -2)[: self.limit])
        shared = (self.size, self.fit, self.source.levels, self.source.background)
        return self._held({name: resize(images, *shared) for name, images in splits.items()})

    def _held(self, splits: dict[str, Images]) -> dict[str, Images]:
        """The splits in memory, or, if they exceed the limit, those of files as they are in the cache."""
        size = sum(images.nbytes for images in splits.values())
        if size <= (max(_SMALL, free_memory() // 2) if self.memory is None else self.memory):
            return {name: images.in_memory() for name, images in splits.items()}
        if self.memory is not None and (held := sum(images.nbytes for images in splits.values() if images.is_held)):
            name = type(self.source).__name__
            _log.warning("data.memory applies to image files; %s holds %s MiB in memory", name, f"{held >> 20:,}")
        return splits


def statistics(pixels: PixelRows, levels: int = 256) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of stored `pixels` [N, C, H, W], on the scale of [-1, 1], exact up to
    float64 rounding."""
    counts = torch.zeros(pixels.shape[1], max(levels, 256), dtype=torch.int64)
    for chunk in chunks(pixels):
        for channel, count in enumerate(counts):
            count += torch.bincount(chunk[:, channel].flatten().int(), minlength=len(count))
    values = torch.arange(counts.shape[1], dtype=torch.float64) * 2 / (levels - 1) - 1
    weights = counts.double() / counts.sum(1, keepdim=True)
    mean = (weights * values).sum(1, keepdim=True)
    std = (weights * (values - mean).square()).sum(1).sqrt()
    return tuple(mean.flatten().tolist()), tuple(std.tolist())
