"""Batches as a pure function of (seed, epoch, batch number), and a loader that resumes at any batch.

A plan computes the samples of a batch directly, without replaying an iterator. Workers only evaluate plans and gather
rows; their number does not change the batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from genmods.core.batch import CHOICES, EPOCH, INDEX, Batch
from genmods.core.random import fold, uniform
from genmods.data.splits import shuffled

_order = lru_cache(maxsize=2)(shuffled)


class Rows(Protocol):
    """The samples of one split."""

    def __len__(self) -> int: ...

    def batch(self, indices: Tensor) -> Batch:
        """The samples at `indices` (int64 [B]) as a batch."""
        ...


class Plan(Protocol):
    """An order of samples: `len(plan)` batches per epoch; `plan(epoch, batch)` returns sample indices, int64 [B]."""

    def __len__(self) -> int: ...

    def __call__(self, epoch: int, batch: int) -> Tensor: ...

    def passes(self, epoch: int, batch: int) -> int | Tensor:
        """How often the samples of a batch were drawn before: one number, or one per sample (int64 [B])."""
        ...


@dataclass(frozen=True)
class Shuffled:
    """Training order: a new permutation per epoch, full batches only; a rank takes its share of `world * batch_size`.

    The samples dropped at the end of an epoch differ between epochs. Fewer samples than one such batch form a smaller
    batch, distributed as evenly as possible.
    """

    samples: int
    batch_size: int
    seed: int
    rank: int = 0
    world: int = 1

    def __len__(self) -> int:
        return max(1, self.samples // (self.batch_size * self.world))

    def __call__(self, epoch: int, batch: int) -> Tensor:
        """The sample indices of a batch, int64 [B]."""
        width = self.batch_size * self.world
        together = _order(self.samples, self.seed, epoch)[batch * width : (batch + 1) * width]
        return together.tensor_split(self.world)[self.rank]

    def passes(self, epoch: int, batch: int) -> int:
        """The epoch."""
        return epoch


@dataclass(frozen=True)
class Complete:
    """Evaluation order: every sample once, sorted, in batches of at most `batch_size`, equally many on each rank."""

    samples: int
    batch_size: int
    rank: int = 0
    world: int = 1

    def __len__(self) -> int:
        return -(-self.samples // (self.batch_size * self.world))

    def __call__(self, epoch: int, batch: int) -> Tensor:
        """The sample indices of a batch, int64 [B]."""
        parts = len(self) * self.world
        part = batch * self.world + self.rank
        return torch.arange(part * self.samples // parts, (part + 1) * self.samples // parts)

    def passes(self, epoch: int, batch: int) -> int:
        """The epoch."""
        return epoch


@dataclass(frozen=True)
class Choices:
    """The random choices for each of `samples`, a pure function of (seed, epoch, index): what `choose`
    returns for `size` random numbers in [0, 1), float32 [B, size].

    Those of an epoch are computed at once if all samples of a batch are in the same epoch: for a batch they would take
    longer than the augmentation.
    """

    samples: int
    size: int
    seed: int
    choose: Callable[[Tensor], Tensor]

    def __call__(self, epoch: int | Tensor, index: Tensor) -> Tensor:
        """The choices for the samples `index` (int64 [B]) in one epoch, or in one epoch per sample (int64 [B])."""
        if isinstance(epoch, int):
            return _of_epoch(self, epoch).index_select(0, index)
        return self.choose(uniform(fold(self.seed, epoch, index), self.size))


@lru_cache(maxsize=2)
def _of_epoch(choices: Choices, epoch: int) -> Tensor:
    parts = torch.arange(choices.samples).split(4096)  # fits into the cache
    return torch.cat([choices.choose(uniform(fold(choices.seed, epoch, part), choices.size)) for part in parts])


class _Batches(Dataset):
    """Batches by number, counted over all epochs."""

    def __init__(self, rows: Rows, plan: Plan, choices: Choices | None):
        self.rows = rows
        self.plan = plan
        self.choices = choices

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        epoch, batch = divmod(number, len(self.plan))
        index, passes = self.plan(epoch, batch), self.plan.passes(epoch, batch)
        data = {**self.rows.batch(index), INDEX: index, EPOCH: torch.zeros_like(index) + passes}
        if self.choices is not None:
            data[CHOICES] = self.choices(passes, index)
        return data


class _Numbers:
    """The numbers of the next batches; the sampler of the workers' DataLoader."""

    def __init__(self) -> None:
        self.chosen: Sequence[int] = range(0)

    def __iter__(self) -> Iterator[int]:
        return iter(self.chosen)

    def __len__(self) -> int:
        return len(self.chosen)


class Loader:
    """Iterates over the batches of an epoch: `image` uint8 [B, C, H, W], `label`, `index` and `epoch` int64 [B], and
    `choices` float32 [B, size] if there are any.

    Each `iter` is the next epoch, or the rest of the epoch given by `load_state_dict`. Under a Trainer, `completed`
    counts the batches trained on since the start of the run, and each `iter` yields the next len(loader) batches.
    Neither the loader's count nor the Trainer's epochs determine the position, because a Trainer may have fetched a
    batch that it did not complete, or ended an epoch early at its last step.

    Args:
        rows: The samples.
        plan: Computes the samples of a batch.
        num_workers: Processes that prefetch batches; 0 gathers them in the main process.
        pin_memory: Whether batches are in pinned memory, for a GPU.
        completed: Returns the number of batches trained on since the start of the run, as counted by a Trainer.
        choices: The random choices of the augmentations.
        epoch: Batches per `iter`; None for those of the plan. The order continues from one `iter` to the next.
        distinct: Number of distinct batches, which are then repeated; None for no limit.
    """

    def __init__(
        self,
        rows: Rows,
        plan: Plan,
        num_workers: int = 0,
        pin_memory: bool = False,
        completed: Callable[[], int] | None = None,
        choices: Choices | None = None,
        epoch: int | None = None,
        distinct: int | None = None,
    ):
        self.plan = plan
        self._epoch = len(plan) if epoch is None else epoch
        self._distinct = distinct
        self._trained = completed
        self._done = self._start = 0
        self._batches = _Batches(rows, plan, choices)
        self._pin = pin_memory
        self._numbers = _Numbers()
        self._workers: DataLoader | None = None
        if num_workers:
            self._workers = DataLoader(
                self._batches,
                batch_size=None,
                sampler=self._numbers,
                num_workers=num_workers,
                pin_memory=pin_memory,
                persistent_workers=True,
                generator=torch.Generator(),  # DataLoader draws a seed per epoch, not from the global generator
            )

    def __len__(self) -> int:
        return self._epoch

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        start = self._trained() if self._trained else self._start
        stop = start + len(self) - (0 if self._trained else start % len(self))
        self._start = stop
        numbers = range(start, stop)
        for number, batch in zip(numbers, self._fetched(numbers), strict=True):
            self._done = number
            yield batch
        self._done = stop

    def _fetched(self, numbers: range) -> Iterable[dict[str, Tensor]]:
        """The batches with these numbers, from the workers, or directly without the overhead of a DataLoader."""
        chosen = [number % self._distinct for number in numbers] if self._distinct else numbers
        if self._workers is not None:
            self._numbers.chosen = chosen
            return self._workers
        batches = map(self._batches.__getitem__, chosen)
        return map(_pinned, batches) if self._pin else batches

    def close(self) -> None:
        """End the worker processes; the next `iter` starts new ones.

        Workers that are left to the garbage collector may miss the message to end, and hold it up for 5 s each.
        """
        if self._workers is not None and self._workers._iterator is not None:
            self._workers._iterator._shutdown_workers()  # type: ignore[attr-defined]
            self._workers._iterator = None

    def state_dict(self) -> dict[str, int]:
        """`batches`: the number of batches completed since the start of the run."""
        return {"batches": self._trained() if self._trained else self._done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continues after the batches of a saved state."""
        self._start = self._done = state["batches"]


def _pinned(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.pin_memory() for name, tensor in batch.items()}
