"""The work of a command so far, kept so that a call that was stopped is continued by the same call."""

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
    """Named rows and arrays in a folder. What one `add` receives is kept completely or not at all.

    Args:
        folder: Where they are kept; made with the first of them.
        request: What they depend on, as plain data: those of another request are removed.

    Attributes:
        continues: Whether there is work of an earlier call.
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
        try:
            state = json.loads((self.folder / _STATE).read_text(encoding="utf-8"))
            here = state["request"] == self._state["request"]
            self._state = state if here else self._state
            for name in state["arrays"]:
                self.array(name)  # raises ValueError where the file is too short
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return here

    def add(self, rows: Iterable[tuple[str, Any]] = (), **arrays: np.ndarray) -> None:
        """Append rows, a name and plain data each, and to each array its next rows [B, ...]."""
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
        """Write behind the first `end` bytes of a file; what a call that was killed left behind them is cut off."""
        path = self.folder / name
        with path.open("r+b" if path.is_file() else "wb") as file:
            file.seek(end)
            file.write(content)
            file.truncate()

    def rows(self) -> Iterator[tuple[str, Any]]:
        """All rows in their order, read one by one."""
        end = self._state["rows"]
        if end:
            with (self.folder / _ROWS).open("rb") as file:
                while file.tell() < end:
                    yield tuple(json.loads(file.readline()))

    def count(self, name: str) -> int:
        """The number of rows of an array; 0 if there is none of this name."""
        return self._state["arrays"].get(name, {"count": 0})["count"]

    def array(self, name: str) -> np.ndarray:
        """An array [N, ...], mapped from its file."""
        import numpy as np

        of = self._state["arrays"][name]
        return np.memmap(self.folder / name, of["dtype"], "c", shape=(of["count"], *of["shape"]))

    def computed(self, name: str, n: int, batch_size: int, make: Callable[[int, int], Tensor]) -> Tensor:
        """The array `name`, [n, ...]; rows that are not there yet are made, and kept, batch by batch.

        Args:
            name: Of the array.
            n: The number of rows, at least 1.
            batch_size: Rows per batch.
            make: Maps the number of the first row and the number after the last to these rows.
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
    """The work of a command that writes the file `out`, in `.NAME.unfinished` beside it until the block succeeds.

    It is in a temporary folder, and not continued, without `out` and while another process works on the same file.
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
            stack.enter_context(continued_by_the_same_call(lambda: f"what is done is kept in {folder}"))
        try:
            yield work
        except BaseException:
            if not work.continues and not work.folder.joinpath(_STATE).is_file():
                work.remove()
            raise
        work.remove()


@contextmanager
def continued_by_the_same_call(done: Callable[[], str]) -> Iterator[None]:
    """Within the block an interruption says what is done, and how it is continued."""
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
