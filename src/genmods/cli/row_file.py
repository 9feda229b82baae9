"""Rows of a table, kept while a command works, so that a call that was stopped is continued by the same call."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

Row = tuple[str, list[float]]


class RowFile:
    """The rows (name, numbers) of the table `out`, in `.NAME.unfinished` beside it; of None in a temporary file.

    Rows of another `request` are not continued.
    """

    def __init__(self, out: Path | None, request: Mapping[str, Any]) -> None:
        if out is None:
            with tempfile.NamedTemporaryFile(delete=False) as file:
                self.path = Path(file.name)
        else:
            self.path = out.with_name(f".{out.name}.unfinished")
            out.parent.mkdir(parents=True, exist_ok=True)
        self._request = json.dumps(dict(request), default=str)
        self.done: set[str] = set()
        if not self._continue():
            self.path.write_text(self._request + "\n", encoding="utf-8")

    def _continue(self) -> bool:
        """Whether rows of the same request are there; what a stopped call wrote in part is cut off."""
        if not self.path.is_file():
            return False
        with self.path.open("rb+") as file:
            if file.readline().decode(errors="replace") != self._request + "\n":
                return False
            end = file.tell()
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self.done.add(json.loads(line)[0])
                end += len(line)
            file.truncate(end)
        return True

    def add(self, rows: Iterable[Row]) -> None:
        """Write rows behind those that are there."""
        with self.path.open("a", encoding="utf-8") as file:
            for name, numbers in rows:
                file.write(json.dumps([name, numbers]) + "\n")
                self.done.add(name)

    def __iter__(self) -> Iterator[Row]:
        with self.path.open(encoding="utf-8") as file:
            next(file)
            for line in file:
                name, numbers = json.loads(line)
                yield name, numbers
