"""The exception that is shown to users as one line without a traceback, and suggestions of valid names."""

from __future__ import annotations

from collections.abc import Iterable

from genmods.core.printable import printable

_LONGEST_NAME = 60


class UserError(ValueError):
    """An error in a recipe, a command, a file or the data, with a one-line message that states what is allowed.

    Args:
        message: The line; control characters are escaped.
        details: Further lines, one for each of several affected files.
    """

    def __init__(self, message: str, *details: str):
        super().__init__("\n  ".join(map(printable, (message, *details))))


class StopRequest(SystemExit):
    """A request to end the process, as by a signal; never reported as an error of the part in whose code it arrives."""


def first_line(error: BaseException) -> str:
    """The first line of the message of `error`, escaped as by `printable`; without a message, its class."""
    lines = str(error).strip().splitlines()
    return printable(lines[0]) if lines else type(error).__name__


def nearest(name: str, choices: Iterable[str]) -> str:
    """The end of an error message: `; did you mean 'unet'?`, or all choices if none is similar and there are few."""
    from difflib import get_close_matches

    known = sorted(choices)
    if len(name) <= _LONGEST_NAME and (
        close := get_close_matches(name, known, 1, 0.6) or get_close_matches(name.lower(), known, 1, 0.6)
    ):
        return f"; did you mean '{close[0]}'?"
    return f"; choose from {', '.join(known)}" if 0 < len(known) < 100 else ""
