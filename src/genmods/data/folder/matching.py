"""Matches file names in tables with image files: by path, part of a path, or name without suffix."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from genmods.core.errors import UserError, nearest

_WHOLE = re.compile(r"/|~|[A-Za-z][\w+.-]*:/")


class Files:
    """The image files in `base`, found by the names in tables.

    A name is a path relative to `base` or to a folder above it, the end of such a path, or an absolute path or URL on
    another machine. It may use either kind of slash, omit the suffix, and differ in case, in leading zeros of a number,
    or in the Unicode form of accents if the file is unambiguous. Of several files that in `preferred` is taken.
    """

    def __init__(self, paths: Iterable[Path], base: Path, preferred: Path | None = None) -> None:
        self.base, self.above = base, base.resolve().as_posix().casefold()
        self.preferred = base if preferred is None else preferred
        self.compared = 0
        self.by_path = {_composed(path.relative_to(base).as_posix()): path for path in paths}
        self.by_name: dict[str, list[str]] = defaultdict(list)
        for relative in self.by_path:
            name = relative.rpartition("/")[2]
            for key in dict.fromkeys((name, stem := _stem(name), stem.lstrip("0") if stem.isdecimal() else stem)):
                self.by_name[key.casefold()].append(relative)

    def has(self, text: str) -> bool:
        """Whether `text` names an image."""
        try:
            self.find(text)
        except UserError:
            return False
        return True

    def find(self, text: str) -> Path:
        """The file with the name `text`. Raises UserError if there is none, or more than one."""
        wanted = _composed(posixpath.normpath(text.replace("\\", "/")))
        while wanted.startswith("../"):
            wanted = wanted[3:]
        if wanted in self.by_path:
            return self.by_path[wanted]
        candidates = self.by_name.get(wanted.rpartition("/")[2].casefold(), [])
        for same in (str, str.casefold):
            fitting = [path for path in candidates if self._means(same(wanted), same(path))]
            if _WHOLE.match(wanted):  # all are ends of `wanted`
                fitting = [path for path in fitting if path.count("/") == max(each.count("/") for each in fitting)]
            if path := self._only(fitting, text):
                return path
        digits = wanted.removesuffix(".0")  # of a column of numbers with empty cells
        if digits.isdecimal() and (path := self._only(self.by_name.get(digits.lstrip("0"), []), text)):
            return path
        raise UserError(f"there is no image '{text}' in {self.base}{self._near(wanted)}")

    def _only(self, fitting: list[str], text: str) -> Path | None:
        """The file that fits, or None; raises UserError if there are several."""
        inside = [path for path in fitting if self.by_path[path].is_relative_to(self.preferred)]
        if len(inside or fitting) > 1:
            raise UserError(f"'{text}' is ambiguous: {' or '.join(fitting[:3])}")
        return self.by_path[(inside or fitting)[0]] if fitting else None

    def _means(self, wanted: str, path: str) -> bool:
        """Whether `wanted` is the name of the file at `path`, compared by whole components."""
        folder, _, name = path.rpartition("/")
        for form in (path, f"{folder}/{_stem(name)}".lstrip("/")):
            if f"/{form}".endswith(f"/{wanted}"):
                return True
            if wanted.endswith(f"/{form}"):
                above = wanted.removesuffix(f"/{form}")
                return bool(_WHOLE.match(wanted)) or self.above.endswith(f"/{above}".casefold())
        return False

    def _near(self, wanted: str) -> str:
        """A suggestion of a similar name, for the first few errors only, since comparing all names is slow."""
        self.compared += 1
        hint = nearest(wanted, self.by_path) if self.compared <= 3 and len(self.by_path) < 10_000 else ""
        return hint if "mean" in hint else ""


def _composed(text: str) -> str:
    """Text in Unicode's form NFC; names of files on a Mac may have accents as separate characters."""
    return unicodedata.normalize("NFC", text)


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name
