"""Where a large uint8 tensor lives: in memory, or in a scratch file that the system pages in and out."""

from __future__ import annotations

import math
import os
import tempfile

import torch
from torch import Tensor

from genmods.core.atomic import cache

_SMALL = 1 << 28


def allocate(shape: tuple[int, ...]) -> Tensor:
    """An uninitialised uint8 tensor of a shape; one of more than half of the free memory is mapped from a scratch file.

    The file lies in the cache folder and is unlinked at once: its space is freed with the process.
    """
    size = math.prod(shape)
    if size <= _SMALL or size <= _free_memory() // 2:
        return torch.empty(shape, dtype=torch.uint8)
    folder = cache()
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(suffix=".uint8", dir=folder)
    os.truncate(descriptor, size)
    os.close(descriptor)
    mapped = torch.from_file(name, shared=True, size=size, dtype=torch.uint8).view(shape)
    os.unlink(name)
    return mapped


def _free_memory() -> int:
    """Bytes that the system could still give; unlimited where it does not say."""
    try:
        with open("/proc/meminfo") as file:
            fields = dict(line.split(":", 1) for line in file)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return 1 << 62
