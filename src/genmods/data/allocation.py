"""Allocation of large uint8 tensors in memory, or in a memory-mapped scratch file."""

from __future__ import annotations

import math
import os
import tempfile

import torch
from torch import Tensor

from genmods.core.atomic import cache
from genmods.core.memory import free_memory

_SMALL = 1 << 28


def allocate(shape: tuple[int, ...]) -> Tensor:
    """An uninitialised uint8 tensor [*shape], memory-mapped from a scratch file if larger than half the free memory.

    The file is created in the cache folder and unlinked immediately, so that its space is freed with the process.
    """
    size = math.prod(shape)
    if size <= _SMALL or size <= free_memory() // 2:
        return torch.empty(shape, dtype=torch.uint8)
    folder = cache()
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(suffix=".uint8", dir=folder)
    os.truncate(descriptor, size)
    os.close(descriptor)
    mapped = torch.from_file(name, shared=True, size=size, dtype=torch.uint8).view(shape)
    os.unlink(name)
    return mapped
