"""The progress bar of commands."""

from __future__ import annotations

import sys


class ProgressBar:
    """A rich progress bar labelled `what`, called with (done, total); silent if `quiet` or without a terminal."""

    def __init__(self, quiet: bool, what: str = "sampling") -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._bar = Progress(console=Console(stderr=True), disable=quiet or not sys.stderr.isatty())
        self._task = self._bar.add_task(what, total=None)

    def __enter__(self) -> ProgressBar:
        if not self._bar.disable:  # rich up to 14 ends a bar that was never visible with an empty line
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._bar.disable:
            self._bar.stop()

    def __call__(self, done: int, total: int) -> None:
        self._bar.update(self._task, completed=done, total=total)
