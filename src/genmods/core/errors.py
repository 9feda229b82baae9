"""The one exception that reaches a user as a single line instead of a traceback, and what such a line suggests."""

from __future__ import annotations

from collections.abc import Iterable

from genmods.core.printable import printable

_LONGEST_NAME = 60


class UserError(ValueError):
    """A mistake in a recipe, a command, a file or the data, told in one line that says what is allowed.

    Args:
        message: The line. What a terminal would obey in it is shown as an escape.
        details: Further lines, one for each of several files that are at fault.
    """

    def __init__(self, message: str, *details: str):
        super().__init__("\n  ".join(map(printable, (message, *details))))


def nearest(name: str, choices: Iterable[str]) -> str:
    """The end of an error line: `; did you mean 'unet'?`, or the choices where none is near and they are few."""
    from difflib import get_close_matches

    known = sorted(choices)
    if len(name) <= _LONGEST_NAME and (
        close := get_close_matches(name, known, 1, 0.6) or get_close_matches(name.lower(), known, 1, 0.6)
    ):
        return f"; did you mean '{close[0]}'?"
    return f"; there is {', '.join(known)}" if 0 < len(known) < 100 else ""
