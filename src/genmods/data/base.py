"""The base class of data modules: rows by split, in batches that a resumed run continues exactly."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

import torch
from annotated_types import Ge, Le
from lightning.pytorch import LightningDataModule
from torch import Tensor

from genmods.core.batch import INPUT, LABEL, Batch
from genmods.core.errors import UserError
from genmods.core.lightning_internals import batches_done, batches_left
from genmods.core.settings import AutoBatchSize, Seed, Validated
from genmods.data.info import DataInfo
from genmods.data.kept.pixels import PixelRows
from genmods.data.loader import Choices, Complete, Loader, Plan, Rows, Shuffled
from genmods.data.preparation import Preparation
from genmods.data.splits import shuffled


@dataclass(frozen=True)
class Table:
    """Rows in memory: a tensor [N, ...] per key of a batch, including `INPUT`."""

    columns: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.columns[INPUT])

    def batch(self, indices: Tensor) -> Batch:
        return {key: column[indices] for key, column in self.columns.items()}


Workers = Annotated[int, Ge(0), Le(1024)]
"""Number of processes that load batches; 0 for none."""


class DataModule(Validated, LightningDataModule):
    """The registry kind `data_module`: a data set of samples of any shape, and its batches.

    A subclass defines `splits` and `info`, `prepare` for operations on the device, and `show` for samples other than
    images. `seed` is the seed of the recipe.
    """

    def __init__(self, batch_size: AutoBatchSize = 128, num_workers: Workers = 0, seed: Seed = 0) -> None:
        super().__init__()
        self.batch_size = 128 if batch_size == "auto" else batch_size
        self.num_workers, self.seed = num_workers, seed
        self._loaders: list[Loader] = []

    @property
    @abstractmethod
    def splits(self) -> Mapping[str, Rows]:
        """The rows of the existing splits among "train", "val" and "test"; always the same object."""

    @property
    @abstractmethod
    def info(self) -> DataInfo:
        """The facts of the training data."""

    @property
    def data_name(self) -> str:
        """The name of the data set in logs."""
        return type(self).__name__.lower()

    @property
    def preparation(self) -> Preparation | None:
        """How an image file becomes a sample; None if samples are not images."""
        return Preparation.of_shape(self.info.shape)

    def prepare_as(self, preparation: Preparation) -> None:
        """Uses the preparation of a model for settings that are not set. Must be called before files are read."""

    def prepare(self, batch: Batch) -> Batch:
        """Prepares a batch of `splits` for a task (e.g. images as float32 in [-1, 1]), without augmentation."""
        return batch

    def show(self, samples: Tensor) -> Tensor:
        """Samples [N, ...] as images [N, C, H, W] in [-1, 1], for pictures and files."""
        return samples

    def names(self, split: str) -> Sequence[str]:
        """The names of the samples of a split for tables and pictures: file names or indices."""
        return [str(i) for i in range(len(self.splits[split]))]

    def arrays(self, split: str) -> tuple[PixelRows, Tensor | None] | None:
        """All samples [N, ...] of a split, and their classes (int64 [N]), if any; None if there is no such split."""
        if split not in self.splits:
            return None
        batch = self.splits[split].batch(torch.arange(len(self.splits[split])))
        return batch[INPUT], batch.get(LABEL)

    def has_labels(self, split: str) -> bool:
        """Whether the samples of a split have the labels that the training data has."""
        return True

    def summary(self) -> list[str]:
        """The contents of the data set, in a few lines."""
        return [", ".join(f"{name} {len(rows):,}" for name, rows in self.splits.items())]

    def missing(self) -> list[str]:
        """Warnings about splits and classes without samples, which `summary` mentions."""
        return []

    def left_over(self, ranks: int) -> list[str]:
        """A line about the training samples that an epoch of `ranks` processes does not use, if any."""
        total, width = len(self.splits["train"]), self.batch_size * ranks
        if total < width or not total % width:
            return []
        processes = f"{ranks} x " if ranks > 1 else ""
        return [
            f"{total % width:,} of {total:,} training samples are left over in each epoch: they fill no batch of "
            f"{processes}{self.batch_size}; they differ between epochs"
        ]

    def __str__(self) -> str:
        return "\n".join([type(self).__name__, *(f"  {line}" for line in self.summary())])

    @cached_property
    def hash(self) -> str:
        """A hash of all rows, 16 hexadecimal digits."""
        digest = hashlib.blake2b(digest_size=8)
        for name, rows in sorted(self.splits.items()):
            for key, column in sorted(rows.batch(torch.arange(len(rows))).items()):
                digest.update(f"{name} {key} {list(column.shape)}".encode())
                digest.update(column.contiguous().numpy().data)
        return digest.hexdigest()

    def examples(self, most: int = 1 << 29) -> Batch:
        """Random training samples: 5,000, or as many as fit in `most` bytes as float32."""
        rows = self.splits["train"]
        size = 4 * rows.batch(torch.arange(1))[INPUT].numel()
        count = min(5000, max(1, most // size))
        return self.prepare(rows.batch(shuffled(len(rows), self.seed, 0)[:count]))

    @property
    def is_augmented(self) -> bool:
        """Whether training samples differ from epoch to epoch."""
        return False

    def first_batch(self) -> Tensor:
        """The indices [B] of the samples of the first training batch."""
        return self._plan()(0, 0)

    def seen(self, index: Tensor, epoch: int) -> Batch:
        """The training samples `index` [B] as a batch of `epoch` (from 0) has them, augmented."""
        return self.prepare(self.splits["train"].batch(index))

    def train_dataloader(self) -> Loader:
        """Batches of the training split, of this rank and from the next batch on."""
        plan = self._plan()
        trainer: Any = self.trainer
        if trainer is None:
            return self._loader("train", plan, choices=self._choices())
        left, group = batches_left(trainer, len(plan)), trainer.accumulate_grad_batches
        epoch = max(group, round(left / group) * group) if left else 0  # ends with an optimizer step
        trainer.limit_train_batches = epoch
        distinct = left if trainer.overfit_batches else None
        return self._loader("train", plan, self._completed, self._choices(), epoch, distinct)

    def val_dataloader(self) -> Loader | list:
        """Batches of the validation split; an empty list without one."""
        return self._complete("val")

    def test_dataloader(self) -> Loader | list:
        """Batches of the test split; an empty list without one."""
        return self._complete("test")

    def predict_dataloader(self) -> Loader | list:
        """Batches of the test split, with or without labels; an empty list without one."""
        return self._complete("test")

    def teardown(self, stage: str) -> None:
        self._close()

    def on_exception(self, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        """End the worker processes of all loaders."""
        while self._loaders:
            self._loaders.pop().close()

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        return self.prepare(batch)

    def state_dict(self) -> dict[str, Any]:
        """The data hash, the seed and the global batch size, on which the order of batches depends."""
        return self._order(self._rank()[1])

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises UserError if a resumed run would have other batches; evaluation accepts any data."""
        if self.trainer is None or self.trainer.state.fn == "fit":
            self.check_continued(state, self._rank()[1])

    def check_continued(self, state: dict[str, Any], ranks: int) -> None:
        """Raises UserError if the batches of `state` differ from the current ones, distributed over `ranks`."""
        for name, now in self._order(ranks).items():
            if state.get(name, now) != now:
                raise UserError(
                    f"cannot resume: data.{name} must be {state[name]}, got {now}; "
                    "otherwise batches would be repeated or skipped"
                )

    def _order(self, ranks: int) -> dict[str, Any]:
        return {"hash": self.hash, "seed": self.seed, "batch_size": self.batch_size * ranks}

    def _plan(self) -> Plan:
        """The training order."""
        return Shuffled(len(self.splits["train"]), self.batch_size, self.seed, *self._rank())

    def _choices(self) -> Choices | None:
        """The random choices of the augmentations."""
        return None

    def _loader(
        self,
        split: str,
        plan: Plan,
        completed: Callable[[], int] | None = None,
        choices: Choices | None = None,
        epoch: int | None = None,
        distinct: int | None = None,
    ) -> Loader:
        pin = torch.cuda.is_available()
        loader = Loader(self.splits[split], plan, self.num_workers, pin, completed, choices, epoch, distinct)
        self._loaders.append(loader)
        return loader

    def _complete(self, split: str) -> Loader | list:
        if split not in self.splits:
            return []
        return self._loader(split, Complete(len(self.splits[split]), self.batch_size, *self._rank()))

    def _rank(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

    def _completed(self) -> int:
        """Number of batches trained on since the start of the run; a batch counts after its optimizer step."""
        trainer: Any = self.trainer
        return 0 if trainer.overfit_batches else batches_done(trainer)
