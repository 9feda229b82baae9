"""Text that comes from outside (names of files, classes and settings), made fit for a terminal and for a table."""

from __future__ import annotations

from typing import IO

_HEAD, _TAIL = 1000, 500
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # what a spreadsheet computes


def printable(text: object) -> str:
    """`text` in one line that a terminal shows as it is.

    Control characters, line feeds, marks of direction and bytes that are no UTF-8 become escapes such as `\\x1b`; of a
    very long text the middle is left out.
    """
    shown = str(text)
    if len(shown) > _HEAD + _TAIL:
        shown = f"{shown[:_HEAD]} ... {shown[-_TAIL:]}"
    if shown.isprintable():
        return shown
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in shown)


def say(*lines: object, file: IO[str] | None = None) -> None:
    """Print `lines` to `file`, by default standard output, each as `printable` shows it."""
    print("\n".join(map(printable, lines)), file=file, flush=True)


def cell(text: str) -> str:
    """`text` as a cell of a CSV table that a spreadsheet takes for text and never for a formula.

    What begins like a formula gets an apostrophe in front; a number stays as it is.
    """
    shown = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    return f"'{shown}" if text.startswith(_FORMULA) and not _is_number(text) else shown


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
