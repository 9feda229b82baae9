"""Batches as a pure function of (seed, epoch, number of the batch), and a loader that continues where training stood.

Which samples batch b of an epoch holds needs no iterator to be replayed: a plan computes it. Workers only compute plans
and gather rows, so their number changes nothing, and resuming is starting at b.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from genmods.data.images import Images
from genmods.data.splits import shuffled
from genmods.errors import UserError

_order = lru_cache(maxsize=2)(shuffled)


class Plan(Protocol):
    """`len(plan)` batches an epoch; `plan(epoch, batch)` gives the sample indices, int64 [B]."""

    def __len__(self) -> int: ...

    def __call__(self, epoch: int, batch: int) -> Tensor: ...


@dataclass(frozen=True)
class Shuffled:
    """Training: a new order every epoch, full batches only; of each `world * batch_size` samples a rank takes its share.

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
        width = self.batch_size * self.world
        together = _order(self.samples, self.seed, epoch)[batch * width : (batch + 1) * width]
        return together.tensor_split(self.world)[self.rank]


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
        parts = len(self) * self.world
        part = batch * self.world + self.rank
        return torch.arange(part * self.samples // parts, (part + 1) * self.samples // parts)


class _Batches(Dataset):
    """Batch dictionaries by (epoch, batch)."""

    def __init__(self, images: Images, plan: Plan):
        self.images = images
        self.plan = plan

    def __getitem__(self, place: tuple[int, int]) -> dict[str, Tensor]:
        index = self.plan(*place)
        chosen = self.images.select(index)
        batch = {"image": chosen.pixels, "index": index, "epoch": torch.full_like(index, place[0])}
        return batch if chosen.labels is None else batch | {"label": chosen.labels}


class _Places:
    """The (epoch, batch) pairs still to come in an epoch; the sampler of the fetching DataLoader."""

    def __init__(self, batches: int):
        self.batches = batches
        self.epoch = self.start = 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter([(self.epoch, batch) for batch in range(self.start, self.batches)])

    def __len__(self) -> int:
        return self.batches - self.start


class Loader:
    """Iterates over one epoch of batches: {"image": uint8 [B, C, H, W], "label", "index": int64 [B], "epoch": int64 [B]}.

    Each `iter` is the next epoch, or the rest of the one that `load_state_dict` gave. Under a Trainer, `position` says
    at which (epoch, batches completed in it) training stands, and iteration starts there: a Trainer may have fetched a
    batch that it did not complete, so the loader's own count would skip one after an interruption.
    `order` is what the order depends on; a state saved under another one is refused.
    """

    def __init__(
        self,
        images: Images,
        plan: Plan,
        num_workers: int = 0,
        pin_memory: bool = False,
        position: Callable[[], tuple[int, int]] | None = None,
        order: dict[str, int | str] | None = None,
    ):
        self.plan = plan
        self.order = order or {}
        self._position = position
        self._now = self._next = (0, 0)
        self._places = _Places(len(plan))
        self._fetcher = DataLoader(
            _Batches(images, plan),
            batch_size=None,
            sampler=self._places,
            num_workers=num_workers,
            pin_memory=pin_memory,
            persistent_workers=num_workers > 0,
        )

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        epoch, done = self._position() if self._position else self._next
        self._next = (epoch + 1, 0)
        self._places.epoch, self._places.start = epoch, done
        for batch in self._fetcher:
            self._now = (epoch, done)
            yield batch
            done += 1
        self._now = self._next

    def state_dict(self) -> dict[str, int | str]:
        """Where training stands, `epoch` and `batch` (batches completed in it), and what the order depends on."""
        epoch, batch = self._position() if self._position else self._now
        return {"epoch": epoch, "batch": batch, **self.order}

    def load_state_dict(self, state: dict[str, int | str]) -> None:
        """Continue at a saved state. Raises UserError where the order has changed since."""
        for name, value in self.order.items():
            if state.get(name, value) != value:
                raise UserError(
                    f"data.{name} was {state[name]} when this run was saved and is {value} now: "
                    "batches would be repeated or skipped"
                )
        epoch, batch = int(state["epoch"]), int(state["batch"])
        self._next = self._now = (epoch, batch) if batch < len(self) else (epoch + 1, 0)
