"""Bars of a training, in a terminal and in a notebook: `update(done, text)` and `stop()`."""

from __future__ import annotations

import html
import sys
from typing import Any, Protocol


class Bar(Protocol):
    """A bar that shows how many steps are done."""

    def update(self, done: int, text: str) -> None:
        """Show that `done` steps are done, and a text."""

    def stop(self) -> None:
        """Leave the bar as it is."""


class TerminalBar:
    """A bar of rich, on stderr, of `total` steps (None: unknown), of which `done` are done."""

    def __init__(self, total: int | None, done: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (BarColumn(None), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(file=sys.stderr), expand=True)
        self._bar.start()
        self._job = self._bar.add_task("", total=total, completed=done)

    def update(self, done: int, text: str) -> None:
        """Show that `done` steps are done, and a text."""
        self._bar.update(self._job, completed=done, description=text)

    def stop(self) -> None:
        """Leave the bar as it is."""
        self._bar.stop()


class NotebookBar:
    """The same as HTML below the cell of a notebook; without a package of widgets."""

    def __init__(self, total: int | None, done: int) -> None:
        from IPython.display import display

        self._total = total
        self._display: Any = display(self._shown(done, ""), display_id=True)

    def _shown(self, done: int, text: str) -> Any:
        from IPython.display import HTML

        total = "" if self._total is None else f' value="{done}" max="{self._total}"'
        count = f"{done}/{'?' if self._total is None else self._total}"
        return HTML(f"<progress{total}></progress> {count} {html.escape(text)}")

    def update(self, done: int, text: str) -> None:
        """Show that `done` steps are done, and a text."""
        self._display.update(self._shown(done, text))

    def stop(self) -> None:
        """Leave the bar as it is."""


def make_bar(total: int | None, done: int) -> Bar | None:
    """The bar of this process; None if it has neither a notebook nor a terminal."""
    if in_notebook():
        return NotebookBar(total, done)
    return TerminalBar(total, done) if sys.stderr.isatty() else None


def in_notebook() -> bool:
    """Whether this is the process of a notebook."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel")
