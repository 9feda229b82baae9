"""Progress of a piece of work, as a callback."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""(steps done, steps in all), called after each step."""


def part_of(progress: Progress | None, part: int, parts: int) -> Progress | None:
    """The progress of one of several equal parts of a piece of work."""
    if progress is None:
        return None
    return lambda done, total: progress(part * total + done, parts * total)
