"""Class-balanced sampling: all classes are equally frequent. A pure function of (seed, epoch, batch).

All draws of a run form one sequence of blocks that contain each class once, in a random order per block. Block b takes
the image at position b mod n of a permutation of the n images of a class, a new permutation per pass b div n: rare
classes take more passes, and each pass uses all of their images.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from genmods.core.random import fold
from genmods.data.splits import shuffled

_BLOCKS = -3  # streams -1 and -2 belong to `genmods.data.splits`


@dataclass(frozen=True, eq=False)
class Balanced:
    """Training order with as many batches per epoch as `Shuffled`; a rank takes its share of `world * batch_size`.

    Args:
        labels: The class of each image, int64 [N]; classes without images are left out.
        batch_size: Images per batch and rank.
        seed: The seed of the order.
        rank: The rank of this process.
        world: Number of processes.
    """

    labels: Tensor
    batch_size: int
    seed: int
    rank: int = 0
    world: int = 1

    def __len__(self) -> int:
        return max(1, len(self.labels) // (self.batch_size * self.world))

    def __call__(self, epoch: int, batch: int) -> Tensor:
        """The sample indices of a batch, int64 [B]."""
        return self._share(_drawn(self, epoch)[0], batch)

    def passes(self, epoch: int, batch: int) -> Tensor:
        """How often each image of a batch was drawn before, int64 [B]; determines its augmentation."""
        return self._share(_drawn(self, epoch)[1], batch)

    def _share(self, values: Tensor, batch: int) -> Tensor:
        width = self.batch_size * self.world
        return values[batch * width : (batch + 1) * width].tensor_split(self.world)[self.rank]


@lru_cache(maxsize=2)
def _drawn(plan: Balanced, epoch: int) -> tuple[Tensor, Tensor]:
    """The indices [n] of an epoch, and how often each was drawn before."""
    n = len(plan) * min(len(plan.labels), plan.batch_size * plan.world)
    classes, sizes = plan.labels.unique(return_counts=True)
    members = plan.labels.argsort(stable=True).split(sizes.tolist())
    number = torch.arange(epoch * n, (epoch + 1) * n)
    block, place = number // len(classes), number % len(classes)
    blocks = torch.arange(int(block[0]), int(block[-1]) + 1)
    keys = fold(plan.seed, _BLOCKS, blocks[:, None] * len(classes) + torch.arange(len(classes)))
    chosen = keys.argsort(dim=1)[block - block[0], place]
    index, passes = torch.empty_like(number), block // sizes[chosen]
    for k, places in enumerate(chosen.argsort(stable=True).split(chosen.bincount(minlength=len(classes)).tolist())):
        for turn in passes[places].unique().tolist():
            here = places[passes[places] == turn]
            order = shuffled(len(members[k]), int(fold(plan.seed, k)), turn)
            index[here] = members[k][order[block[here] % len(members[k])]]
    return index, passes
