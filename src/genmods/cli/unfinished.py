"""Partial results of a command, stored so that the same command continues an interrupted call."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmods.core.atomic import replacing
from genmods.core.errors import UserError
from genmods.core.locking import owned
from genmods.core.printable import say

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

_STATE, _ROWS = "state.json", "rows.jsonl"


class Unfinished:
    """Named rows and arrays in a folder; each `add` is stored completely or not at all.

    Args:
        folder: The folder, created by the first `add`.
        request: Plain data on which the results depend; results of another request are removed.

    Attributes:
        continues: Whether there are results of an earlier call.
        done: The names of the rows.
    """

    def __init__(self, folder: Path, request: Mapping[str, Any]) -> None:
        self.folder = folder
        wanted = json.loads(json.dumps(dict(request), default=str))
        self._state: dict[str, Any] = {"request": wanted, "rows": 0, "arrays": {}}
        self.continues = self._read()
        if not self.continues:
            for path in folder.glob("[!.]*"):  # all but the lock
                path.unlink()
        self.done = {name for name, _ in self.rows()}

    def _read(self) -> bool:
        """Whether an earlier call of the same request left results; damaged ones are reported and computed again."""
        if not (self.folder / _STATE).is_file():
            return False
        fresh = self._state
        try:
            state = json.loads((self.folder / _STATE).read_text(encoding="utf-8"))
            if state["request"] != fresh["request"]:
                return False
            self._state = state
            for name in state["arrays"]:
                self.array(name)  # raises ValueError if the file is too short
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = " ".join(str(error).split()) or type(error).__name__
            say(f"{self.folder}: partial results cannot be read and are computed again ({message})", file=sys.stderr)
            self._state = fresh
            return False
        return True

    def add(self, rows: Iterable[tuple[str, Any]] = (), **arrays: np.ndarray) -> None:
        """Appends rows, each a name and plain data, and the next rows [B, ...] of each array."""
        self.folder.mkdir(parents=True, exist_ok=True)
        rows = list(rows)
        lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
        self._write(_ROWS, self._state["rows"], lines)
        self._state["rows"] += len(lines)
        for name, values in arrays.items():
            kind = {"dtype": values.dtype.str, "shape": list(values.shape[1:]), "count": 0}
            array = self._state["arrays"].setdefault(name, kind)
            if array["shape"] != kind["shape"]:
                raise UserError(f"{name} must have shape {array['shape']}, like those before, got {kind['shape']}")
            self._write(name, array["count"] * values[:1].nbytes, values.tobytes())
            array["count"] += len(values)
        with replacing(self.folder / _STATE) as staged:
            staged.write_text(json.dumps(self._state), encoding="utf-8")
        self.done.update(name for name, _ in rows)

    def _write(self, name: str, end: int, content: bytes) -> None:
        """Writes after the first `end` bytes of a file; anything that a killed call wrote after them is removed."""
        path = self.folder / name
        with path.open("r+b" if path.is_file() else "wb") as file:
            file.seek(end)
            file.write(content)
            file.truncate()

    def rows(self) -> Iterator[tuple[str, Any]]:
        """All rows, read one at a time."""
        end = self._state["rows"]
        if end:
            with (self.folder / _ROWS).open("rb") as file:
                while file.tell() < end:
                    yield tuple(json.loads(file.readline()))

    def count(self, name: str) -> int:
        """The number of rows of an array; 0 if there is no such array."""
        return self._state["arrays"].get(name, {"count": 0})["count"]

    def array(self, name: str) -> np.ndarray:
        """An array [N, ...], memory-mapped from its file."""
        import numpy as np

        of = self._state["arrays"][name]
        return np.memmap(self.folder / name, of["dtype"], "c", shape=(of["count"], *of["shape"]))

    def computed(self, name: str, n: int, batch_size: int, make: Callable[[int, int], Tensor]) -> Tensor:
        """The array `name` [n, ...]; missing rows are computed and stored batch by batch.

        Args:
            name: The name of the array.
            n: Number of rows, at least 1.
            batch_size: Rows per batch.
            make: Called with the number of the first row and the number after the last; returns these rows.
        """
        import torch

        while (first := self.count(name)) < n:
            self.add((), **{name: make(first, min(first + batch_size, n)).cpu().numpy()})
        return torch.from_numpy(self.array(name))

    def remove(self) -> None:
        """Remove the folder: the command is complete."""
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def unfinished(out: Path | None, request: Mapping[str, Any]) -> Iterator[Unfinished]:
    """A context with the partial results of a command that writes the file `out`, in `.NAME.unfinished` next to it.

    The folder is removed on success. Without `out`, or while another process works on the same file, it is temporary.
    """
    with ExitStack() as stack:
        folder = None if out is None else out.with_name(f".{out.name}.unfinished")
        if folder is not None:
            try:
                stack.enter_context(owned(folder))
            except UserError:
                folder = None
        if folder is None:
            work = Unfinished(Path(stack.enter_context(tempfile.TemporaryDirectory())), request)
        else:
            work = Unfinished(folder, request)
            stack.enter_context(continued_by_the_same_call(lambda: f"partial results are in {folder}"))
        try:
            yield work
        except BaseException:
            if not work.continues and not work.folder.joinpath(_STATE).is_file():
                work.remove()
            raise
        work.remove()


@contextmanager
def continued_by_the_same_call(done: Callable[[], str]) -> Iterator[None]:
    """A context that prints on interruption what was completed and how to continue."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"{done()}; the same command continues", file=sys.stderr)
        raise


def fingerprint(paths: Iterable[Path]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the names, sizes and times of files."""
    digest = hashlib.sha256()
    for path in paths:
        state = path.stat()
        digest.update(f"{path!s}\0{state.st_size} {state.st_mtime_ns}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]
