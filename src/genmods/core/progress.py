"""Progress callbacks."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""(steps done, total steps), called after each step."""


def part_of(progress: Progress | None, part: int, parts: int) -> Progress | None:
    """The progress callback for one of several equal parts of the work."""
    if progress is None:
        return None
    return lambda done, total: progress(part * total + done, parts * total)
