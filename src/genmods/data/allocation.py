"""Allocation of large pixel tensors: in memory, or memory-mapped from a scratch file."""

from __future__ import annotations

import math
import tempfile

import torch
from torch import Tensor

from genmods.core.atomic import cache
from genmods.core.memory import free_memory
from genmods.core.positioned import reserve

_SMALL = 1 << 28


def allocate(shape: tuple[int, ...], dtype: torch.dtype = torch.uint8) -> Tensor:
    """An uninitialised tensor of `shape`, memory-mapped from a scratch file if it exceeds half of the free memory.

    The file is created in the cache folder and unlinked immediately, so that its space is freed with the process. Its
    space is reserved, because a full disk would kill the process (SIGBUS) when a page is written. Raises FullDisk.
    """
    count = math.prod(shape)
    size = count * dtype.itemsize
    if size <= _SMALL or size <= free_memory() // 2:
        return torch.empty(shape, dtype=dtype)
    folder = cache()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(suffix=".pixels", dir=folder) as file:
        reserve(file, size)
        return torch.from_file(file.name, shared=True, size=count, dtype=dtype).view(shape)
