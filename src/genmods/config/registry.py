"""The registry of parts: kinds and names as text; nothing is imported until it is used.

Parts are searched in this order: the built-ins of `genmods.config.builtins`, classes registered with `@register` in
this process, and entry points of installed distributions in the groups `genmods.<kind>`. The names of built-ins are
reserved; invalid entry points and unreadable distributions are reported by name and ignored.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from genmods.config.builtins import BUILTINS, KINDS, imported
from genmods.core.errors import StopRequest, UserError, nearest
from genmods.core.printable import say
from genmods.core.tamper import functions_by_place, replaced_by

T = TypeVar("T", bound=type)


class Entry(NamedTuple):
    """A registered part: `target` is "module:Class", `origin` "genmods", a file or the name of a distribution."""

    kind: str
    name: str
    target: str
    origin: str = "genmods"

    def __str__(self) -> str:
        if self.kind not in KINDS:
            return self.name
        return f"the {self.kind} '{self.name}'" + ("" if self.origin == "genmods" else f" of '{self.origin}'")


_registered: dict[tuple[str, str], Entry] = {}


def _known_kind(kind: str) -> None:
    if kind not in KINDS:
        raise UserError(f"no kind of part is called '{kind}'{nearest(kind, KINDS)}")


def report(message: str) -> None:
    """Report an ignored part: one line on stderr."""
    say(f"genmods: {message}", file=sys.stderr)


_CALLBACKS = "lightning.pytorch.callbacks_factory"
_plugins_are_used = True


@contextmanager
def without_plugins() -> Iterator[None]:
    """Context in which the parts of other distributions are ignored."""
    global _plugins_are_used
    before, _plugins_are_used = _plugins_are_used, False
    _plugins.cache_clear()
    try:
        yield
    finally:
        _plugins_are_used = before
        _plugins.cache_clear()


@cache
def _plugins() -> dict[tuple[str, str], Entry]:
    """The entry points `genmods.<kind>` of installed distributions; invalid ones are reported once and ignored."""
    found: dict[tuple[str, str], Entry] = {}
    for entry in _entry_points() if _plugins_are_used else ():
        if fault := _fault(entry, found.get((entry.kind, entry.name))):
            report(f"the {entry.kind} '{entry.name}' of the distribution '{entry.origin}' is ignored: {fault}")
        else:
            found[entry.kind, entry.name] = entry
    return found


class _Point(NamedTuple):
    """An entry point: its group, name, target and distribution."""

    group: str
    name: str
    target: str
    origin: str


def _points() -> list[_Point]:
    """The entry points of genmods; a distribution that cannot be read is reported once and ignored.

    Its entry points are hidden for the rest of the process, because torch and others read those of all distributions on
    import without handling errors.
    """
    from importlib.metadata import distributions

    found, seen = [], set()
    for distribution in distributions():
        try:
            text = distribution.read_text("entry_points.txt") or ""
            if "[genmods." not in text and f"[{_CALLBACKS}]" not in text:
                continue  # the name of a distribution is costly to read
            origin = str(distribution.name)
            points = [_Point(point.group, point.name, point.value, origin) for point in distribution.entry_points]
        except Exception as error:  # metadata of any bytes, or gone since it was listed
            folder = getattr(distribution, "_path", None)
            name = getattr(folder, "name", "?").removesuffix(".dist-info")
            report(f"the distribution '{name}' is ignored, its metadata cannot be read ({_message(error)})")
            _hide(str(folder))
            continue
        if origin not in seen:  # else shadowed by an earlier one on the path
            found += points
        seen.add(origin)
    return found


def _entry_points() -> Iterator[Entry]:
    for group, name, target, origin in _points():
        if group.startswith("genmods."):
            yield Entry(group.removeprefix("genmods."), name, target.split("[")[0].strip(), origin)


@cache
def report_external_callbacks() -> None:
    """Report the distributions that would add callbacks to all of Lightning's Trainers."""
    for origin in dict.fromkeys(point.origin for point in _points() if point.group == _CALLBACKS):
        report(f"the callbacks of the distribution '{origin}' are ignored; a run has those of its recipe")


_hidden: set[str] = set()


def _hide(folder: str) -> None:
    """Hide the entry points of the distribution with metadata in `folder` in this process."""
    from importlib.metadata import PathDistribution

    read: Any = PathDistribution.read_text
    if not _hidden:

        def guarded(self: Any, filename: str) -> str | None:
            hidden = filename == "entry_points.txt" and str(self._path) in _hidden
            return None if hidden else read(self, filename)

        PathDistribution.read_text = guarded  # type: ignore[method-assign,assignment]
    _hidden.add(folder)


def guard_entry_points() -> None:
    """Read the entry points of all distributions, so that those of a broken one are hidden before torch is imported."""
    _points()


def _message(error: BaseException) -> str:
    """An exception in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")


def _fault(entry: Entry, other: Entry | None) -> str:
    """The reason why an entry point is ignored, determined without importing it; empty if it is valid."""
    from genmods.config.reflect import find_class, find_module, settings

    module, _, name = entry.target.partition(":")
    if entry.kind not in KINDS:
        return f"there is no such kind{nearest(entry.kind, KINDS)}"
    if entry.name in BUILTINS[entry.kind]:
        return "that name is a built-in of genmods, which stays"
    if other:
        return f"that name is taken by the distribution '{other.origin}'"
    if not name:
        return f"its target '{entry.target}' is not of the form module:Class"
    try:
        if find_module(module) is None:
            return f"there is no module '{module}'"
        if find_class(entry.target) is None:
            return f"the module '{module}' has no class '{name}'"
        settings(entry.target)  # fails where classes derive from each other
        return ""
    except SyntaxError as error:
        return f"the module '{module}' is not valid Python (line {error.lineno}: {error.msg})"
    except Exception as error:  # whatever its text, or a parent's import hook, makes of being read
        return f"the module '{module}' cannot be read ({_message(error)})"


def entries(kind: str) -> dict[str, Entry]:
    """All parts of a kind by name, built-ins first; raises UserError for an unknown kind."""
    _known_kind(kind)
    result = {name: Entry(kind, name, target) for name, target in BUILTINS[kind].items()}
    for source in (_registered, _plugins()):
        for (of, name), entry in sorted(source.items()):
            if of == kind:
                result.setdefault(name, entry)
    return result


def names(kind: str) -> list[str]:
    """The names of a kind, sorted; raises UserError for an unknown kind."""
    return sorted(entries(kind))


def find(kind: str, name: str) -> Entry:
    """The part called `name`; raises UserError with the nearest name, or with the kind to which the name belongs."""
    known = entries(kind)
    if name in known:
        return known[name]
    others = [other for other in KINDS if other != kind and name in entries(other)]
    hint = f"; '{name}' is of the kind {others[0]}" if others else nearest(name, known)
    raise UserError(f"no {kind} is called '{name}'{hint}")


def resolve(entry: Entry) -> type:
    """Import the class of an entry; raises UserError, with the name of its origin, if this fails."""
    package = entry.target.partition(":")[0].partition(".")[0]
    before = functions_by_place() if entry.origin != "genmods" and package not in sys.modules else {}
    try:
        cls = imported(entry.target)
        base = imported(KINDS[entry.kind]) if entry.kind in KINDS else object
    except ModuleNotFoundError as error:
        raise UserError(f"{entry} requires the package '{error.name}'") from error
    except StopRequest:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"{entry} cannot be imported ({_message(error)})") from error
    except KeyboardInterrupt as stop:  # by the user, who may wait for an import that hangs, or by the module
        raise KeyboardInterrupt(f"during the import of {entry}") from stop
    if place := replaced_by(package, before):
        raise UserError(f"{entry} is refused, its import replaces {place}")
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise UserError(f"{entry} is not a {base.__module__}.{base.__name__}")
    return cls


def register(kind: str, name: str) -> Callable[[T], T]:
    """A class decorator that registers a part in this process: `@register("network", "mine")`.

    Raises UserError for an unknown kind or a name that is taken.
    """
    _known_kind(kind)

    def decorate(cls: T) -> T:
        origin = getattr(sys.modules.get(cls.__module__), "__file__", None) or cls.__module__
        entry = Entry(kind, name, f"{cls.__module__}:{cls.__qualname__}", origin)
        if name in BUILTINS[kind]:
            raise UserError(f"the {kind} '{name}' of {origin} takes the name of a built-in; choose another")
        other = _registered.setdefault((kind, name), entry)
        if other != entry:
            raise UserError(f"the {kind} '{name}' of {origin} is registered by {other.origin} already")
        return cls

    return decorate


_imported: dict[str, None] = {}


def imports() -> list[str]:
    """The options that give a later command the same parts: `--import FILE` of each imported file, `--no-plugins`."""
    plugins = [] if _plugins_are_used else ["--no-plugins"]
    return [*plugins, *(word for path in _imported for word in ("--import", path))]


def import_file(path: str | Path) -> None:
    """Run a user's Python file to register its parts; raises UserError if it fails."""
    from importlib.util import module_from_spec, spec_from_file_location
    from zlib import crc32

    path, given = Path(path), str(path)
    if not path.is_file():
        raise UserError(f"no such file '{path}'")
    path = path.resolve()
    name = f"genmods_import_{path.stem}_{crc32(bytes(path))}"  # two files may have one name
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"'{path}' is not a Python file")
    sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(sys.modules[name])
    except StopRequest:
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        reason = str(error) if isinstance(error, UserError) else _message(error)
        raise UserError(f"{path.name}: {reason}") from error
    _imported[given] = None
