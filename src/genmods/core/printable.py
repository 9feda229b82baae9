"""Text for terminals and tables: untrusted parts (names of files, classes and settings) escaped, nouns counted."""

from __future__ import annotations

from typing import IO

_HEAD, _TAIL = 1000, 500
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # what a spreadsheet computes


def printable(text: object) -> str:
    """`text` as one line that is safe to print on a terminal.

    Control characters, line feeds, bidirectional marks and invalid UTF-8 are escaped, such as `\\x1b`; very long text
    is shortened in the middle.
    """
    shown = str(text)
    if len(shown) > _HEAD + _TAIL:
        shown = f"{shown[:_HEAD]} ... {shown[-_TAIL:]}"
    if shown.isprintable():
        return shown
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in shown)


def say(*lines: object, file: IO[str] | None = None) -> None:
    """Print `lines`, each escaped by `printable`, to `file`, by default standard output."""
    print("\n".join(map(printable, lines)), file=file, flush=True)


def counted(count: int, noun: str) -> str:
    """A number and a noun in the singular, which becomes plural unless the number is 1: `1 image`, `2,000 classes`."""
    ending = "" if count == 1 else "es" if noun.endswith(("s", "x", "ch", "sh")) else "s"
    return f"{count:,} {noun}{ending}"


def cell(text: str) -> str:
    """`text` as a cell of a CSV table that a spreadsheet does not interpret as a formula.

    Text that begins like a formula is prefixed with an apostrophe; numbers are unchanged.
    """
    shown = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    return f"'{shown}" if text.startswith(_FORMULA) and not _is_number(text) else shown


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
