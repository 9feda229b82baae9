"""The progress bar of commands."""

from __future__ import annotations

import sys


class ProgressBar:
    """A rich progress bar labelled `what`, called with (done, total); silent if `quiet` or without a terminal.

    With a `unit`, the bar also shows both numbers, as decimals.
    """

    def __init__(self, quiet: bool, what: str = "sampling", unit: str = "") -> None:
        from rich.console import Console
        from rich.progress import Progress, TextColumn

        columns = list(Progress.get_default_columns())
        if unit:
            columns.append(TextColumn("{task.completed:.1f} of {task.total:.1f} " + unit))
        self._bar = Progress(*columns, console=Console(stderr=True), disable=quiet or not sys.stderr.isatty())
        self._task = self._bar.add_task(what, total=0 if unit else None)

    @property
    def visible(self) -> bool:
        """Whether the bar is shown."""
        return not self._bar.disable

    def __enter__(self) -> ProgressBar:
        if self.visible:  # rich up to 14 ends a bar that was never visible with an empty line
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.visible:
            self._bar.stop()

    def __call__(self, done: float, total: float) -> None:
        self._bar.update(self._task, completed=done, total=total)
