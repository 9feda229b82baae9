"""Threads that read images, and their progress bar."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_MANY = 1000


def readers() -> ThreadPoolExecutor:
    """As many threads as this process has cores, at most 32; decoders run without Python's lock."""
    available = getattr(os, "sched_getaffinity", None)
    cores = len(available(0)) if available else os.cpu_count() or 1
    return ThreadPoolExecutor(min(32, cores))


def listed(results: Iterable[Any], total: int, verb: str) -> list[Any]:
    """All results, with a progress bar in a terminal if there are many."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    if total < _MANY or not console.is_terminal:  # to a file, a bar would write an empty line
        return list(results)
    return list(track(results, f"{verb} {total:,} images", total, console=console, transient=True))
