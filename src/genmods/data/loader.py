"""Batches as a pure function of (seed, epoch, number of the batch), and a loader that continues where training stood.

Which samples batch b of an epoch holds needs no iterator to be replayed: a plan computes it. Workers only compute plans
and gather rows, so their number changes nothing, and resuming is starting at b.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from genmods.core.batch import EPOCH, INDEX, UNIFORMS, Batch
from genmods.core.random import fold, uniform
from genmods.data.splits import shuffled

_order = lru_cache(maxsize=2)(shuffled)


class Rows(Protocol):
    """The samples of one split."""

    def __len__(self) -> int: ...

    def batch(self, indices: Tensor) -> Batch:
        """The samples at `indices` (int64 [B]) by the keys of a batch."""
        ...


class Plan(Protocol):
    """`len(plan)` batches an epoch; `plan(epoch, batch)` gives the sample indices, int64 [B]."""

    def __len__(self) -> int: ...

    def __call__(self, epoch: int, batch: int) -> Tensor: ...

    def passes(self, epoch: int, batch: int) -> int | Tensor:
        """How many times the samples of a batch, all of them or each (int64 [B]), have been drawn before."""
        ...


@dataclass(frozen=True)
class Shuffled:
    """Training: a new order every epoch, full batches only; a rank takes its share of `world * batch_size`.

    The samples left over at an epoch's end are other ones every epoch. Fewer samples than one such batch form one
    smaller batch, shared out as evenly as whole samples allow.
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
    """Evaluation: every sample once, in order, in batches of at most `batch_size`, equally many on every rank."""

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
class Uniforms:
    """`size` random numbers in [0, 1) for each of `samples`, [B, size], a pure function of (seed, epoch, index).

    An epoch's are drawn together where a batch is of one: a batch's alone would cost more than what augmentation does
    with them.
    """

    samples: int
    size: int
    seed: int

    def __call__(self, epoch: int | Tensor, index: Tensor) -> Tensor:
        """The numbers of the samples `index` (int64 [B]) in one epoch, or each in its own (int64 [B])."""
        if isinstance(epoch, int):
            return _drawn(self, epoch)[index]
        return uniform(fold(self.seed, epoch, index), self.size)


@lru_cache(maxsize=2)
def _drawn(uniforms: Uniforms, epoch: int) -> Tensor:
    parts = torch.arange(uniforms.samples).split(4096)  # as many as a cache holds
    return torch.cat([uniform(fold(uniforms.seed, epoch, part), uniforms.size) for part in parts])


class _Batches(Dataset):
    """Batch dictionaries by number, counted through all epochs."""

    def __init__(self, rows: Rows, plan: Plan, uniforms: Uniforms | None):
        self.rows = rows
        self.plan = plan
        self.uniforms = uniforms

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        epoch, batch = divmod(number, len(self.plan))
        index, passes = self.plan(epoch, batch), self.plan.passes(epoch, batch)
        data = {**self.rows.batch(index), INDEX: index, EPOCH: torch.zeros_like(index) + passes}
        if self.uniforms is not None:
            data[UNIFORMS] = self.uniforms(passes, index)
        return data


class _Numbers:
    """The batches to fetch next; the sampler of the workers' DataLoader."""

    def __init__(self) -> None:
        self.chosen: Sequence[int] = range(0)

    def __iter__(self) -> Iterator[int]:
        return iter(self.chosen)

    def __len__(self) -> int:
        return len(self.chosen)


class Loader:
    """Iterates over an epoch of batches: `image` uint8 [B, C, H, W], `label`, `index` and `epoch` int64 [B], and, where
    `uniforms` are asked for, `uniforms` float32 [B, size].

    Each `iter` is the next epoch, or the rest of the one that `load_state_dict` gave. Under a Trainer, `completed`
    counts the batches trained on since the run began, and each `iter` is the len(loader) batches from there on: a
    Trainer may have fetched a batch that it did not complete, or have cut an epoch short at its last step, so neither
    the loader's own count nor the Trainer's epochs would say where to continue.

    Args:
        rows: The samples.
        plan: Which of them are in a batch.
        num_workers: Processes that gather batches ahead; 0 gathers them in this one.
        pin_memory: Whether batches are in pinned memory, for a GPU.
        completed: Batches trained on since the run began, as a Trainer counts them.
        uniforms: The random numbers of augmentation.
        epoch: Batches of an `iter`; None takes those of the plan. The order of the data goes on from one to the next.
        distinct: How many batches there are in all, repeated from the first; None for no end.
    """

    def __init__(
        self,
        rows: Rows,
        plan: Plan,
        num_workers: int = 0,
        pin_memory: bool = False,
        completed: Callable[[], int] | None = None,
        uniforms: Uniforms | None = None,
        epoch: int | None = None,
        distinct: int | None = None,
    ):
        self.plan = plan
        self._epoch = len(plan) if epoch is None else epoch
        self._distinct = distinct
        self._trained = completed
        self._done = self._start = 0
        self._batches = _Batches(rows, plan, uniforms)
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
                generator=torch.Generator(),  # it draws from one each epoch: not from the training's
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
        """The batches of these numbers, from the workers or, with less ado than a DataLoader makes of it, from here."""
        chosen = [number % self._distinct for number in numbers] if self._distinct else numbers
        if self._workers is not None:
            self._numbers.chosen = chosen
            return self._workers
        batches = map(self._batches.__getitem__, chosen)
        return map(_pinned, batches) if self._pin else batches

    def state_dict(self) -> dict[str, int]:
        """`batches`: how many are completed since the run began."""
        return {"batches": self._trained() if self._trained else self._done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue after the batches of a saved state."""
        self._start = self._done = state["batches"]


def _pinned(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.pin_memory() for name, tensor in batch.items()}
