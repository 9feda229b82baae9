"""The fields of a request, read and checked; a wrong one is a UserError of one line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from genmods.core.errors import UserError, nearest
from genmods.play import pictures


class Fields:
    """The JSON object of a request.

    Args:
        values: The object. Raises UserError for anything else.
    """

    def __init__(self, values: Any) -> None:
        if not isinstance(values, Mapping):
            raise UserError("a request must be a JSON object")
        self._values = values

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """A finite number between `low` and `high`."""
        value = self._values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise UserError(f"{name} must be a number, got {value!r}")
        if not low <= value <= high:
            raise UserError(f"{name} must lie in [{low:g}, {high:g}], got {value:g}")
        return float(value)

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """An integer between `low` and `high`."""
        value = self.number(name, default, low, high)
        if value != int(value):
            raise UserError(f"{name} must be an integer, got {value:g}")
        return int(value)

    def choice(self, name: str, choices: Sequence[str], default: str | None = None) -> str:
        """One of `choices`."""
        value = self._values.get(name, default)
        if not isinstance(value, str) or value not in choices:
            raise UserError(f"{name}: unknown name {value!r}{nearest(str(value), choices)}")
        return value

    def flag(self, name: str) -> bool:
        """Whether a flag is set."""
        return self._values.get(name) is True

    def picture(self, name: str) -> Image.Image:
        """A picture, sent as a data URL. Raises UserError if it is missing or cannot be read."""
        value = self._values.get(name)
        if not isinstance(value, str):
            raise UserError(f"{name}: a picture is required")
        try:
            return pictures.decoded(value)
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
