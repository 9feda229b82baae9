"""Reads the settings of constructors from their source text, without importing their modules or parents.

A module is found by its path, a name is followed through imports. The settings of a class are the parameters of its
`__init__`, or the fields of a dataclass and its bases. A constructor that passes `**settings` to `super().__init__`
also has the settings of its parent.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from genmods.core.settings import setting_name

_MAX_BYTES = 10_000_000
"""The largest source file that is read."""


class Module:
    """The top level of a source file: classes, assignments, and origins of imported names."""

    def __init__(self, name: str, path: Path):
        self.name = name
        self.package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        self.values: dict[str, ast.expr | ast.ClassDef] = {}
        self.imports: dict[str, tuple[str, str]] = {}  # local name -> (module, name there, or "" for the module itself)
        self.stars: list[str] = []
        for statement in _flat(ast.parse(_source(path), str(path)).body):
            self._add(statement)

    def _add(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.ClassDef):
            self.values[statement.name] = statement
        elif isinstance(statement, ast.Assign):
            self.values.update({t.id: statement.value for t in statement.targets if isinstance(t, ast.Name)})
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            self.values[statement.target.id] = statement.value
        elif isinstance(statement, ast.Import):
            for alias in statement.names:
                target = alias.name if alias.asname else alias.name.partition(".")[0]
                self.imports[alias.asname or target] = (target, "")
        elif isinstance(statement, ast.ImportFrom):
            parents = self.package.split(".")[: len(self.package.split(".")) - statement.level + 1]
            origin = ".".join(
                [*(parents if statement.level else []), *([statement.module] if statement.module else [])]
            )
            for alias in statement.names:
                if alias.name == "*":
                    self.stars.append(origin)
                else:
                    self.imports[alias.asname or alias.name] = (origin, alias.name)


def _source(path: Path) -> bytes:
    """The bytes of a regular file; raises OSError for a pipe or a device, which might never end, or a huge file."""
    if not path.is_file() or path.stat().st_size > _MAX_BYTES:
        raise OSError(f"{path}: not a regular file of at most {_MAX_BYTES:,} bytes")
    return path.read_bytes()


def _flat(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements at the top level and inside its `if` and `try` blocks."""
    for statement in body:
        if isinstance(statement, ast.If | ast.Try):
            for block in (statement.body, statement.orelse):
                yield from _flat(block)
        else:
            yield statement


@cache
def find_module(name: str) -> Module | None:
    """The module's top level, or None if there is no source file; raises SyntaxError. Imports nothing."""
    loaded = getattr(sys.modules.get(name), "__file__", None)
    if loaded and loaded.endswith(".py"):
        return Module(name, Path(loaded))
    path, spec, full = None, None, ""
    for part in name.split("."):
        full = f"{full}.{part}" if full else part
        specs = (finder.find_spec(full, path) for finder in sys.meta_path)
        spec = next((found for found in specs if found), None)
        if spec is None:
            return None
        path = spec.submodule_search_locations
    return Module(name, Path(spec.origin)) if spec and spec.origin and spec.origin.endswith(".py") else None


class Found(NamedTuple):
    """A class or an assigned expression, and the module in which its names are resolved."""

    module: Module
    value: ast.expr | ast.ClassDef

    @property
    def target(self) -> str:
        """`module:Name` of a class; empty for an expression."""
        return f"{self.module.name}:{self.value.name}" if isinstance(self.value, ast.ClassDef) else ""


def lookup(module: Module | None, name: str, depth: int = 20) -> Found | None:
    """The object of `name` (possibly dotted) in a module, followed through imports; None if unknown."""
    if module is None or depth == 0:
        return None
    head, _, rest = name.partition(".")
    if head in module.values:
        return None if rest else Found(module, module.values[head])
    if head in module.imports:
        origin, there = module.imports[head]
        submodule = f"{origin}.{there}" if there else origin
        if rest and (found := lookup(find_module(submodule), rest, depth - 1)):
            return found
        if rest and "." in rest and not there:  # `import a.b.c` binds `a`
            inner, _, last = rest.rpartition(".")
            return lookup(find_module(f"{origin}.{inner}"), last, depth - 1)
        return lookup(find_module(origin), there, depth - 1) if there and not rest else None
    for origin in module.stars:
        if found := lookup(find_module(origin), name, depth - 1):
            return found
    return None


def find_class(target: str) -> Found | None:
    """The class "module:Class", or None."""
    module, _, name = target.partition(":")
    found = lookup(find_module(module), name)
    return found if found and isinstance(found.value, ast.ClassDef) else None


def docstring(target: str) -> str:
    """The docstring of the class "module:Class", or ""."""
    found = find_class(target)
    return (ast.get_docstring(found.value) or "") if found and isinstance(found.value, ast.ClassDef) else ""


def summary(target: str) -> str:
    """The first line of the docstring."""
    return docstring(target).partition("\n")[0]


class Setting(NamedTuple):
    """A parameter of a constructor: hint and default as syntax, with names resolved in `module`."""

    name: str
    hint: ast.expr | None
    default: ast.expr | None
    module: Module


def dotted(expression: ast.expr) -> str:
    """`a.b.c` as text, or "" for any other expression."""
    if isinstance(expression, ast.Name):
        return expression.id
    if isinstance(expression, ast.Attribute) and (head := dotted(expression.value)):
        return f"{head}.{expression.attr}"
    return ""


def _is_dataclass(cls: ast.ClassDef) -> bool:
    called = (d.func if isinstance(d, ast.Call) else d for d in cls.decorator_list)
    return any(dotted(d) in ("dataclass", "dataclasses.dataclass") for d in called)


def bases(found: Found, without: tuple[str, ...] = ()) -> Iterator[Found]:
    """The base classes whose source can be found, except those imported from the packages `without`."""
    assert isinstance(found.value, ast.ClassDef)
    for base in found.value.bases:
        name = dotted(base.value if isinstance(base, ast.Subscript) else base)
        origin, _ = found.module.imports.get(name.partition(".")[0], ("", ""))
        if origin.partition(".")[0] in without:
            continue
        parent = lookup(found.module, name)
        if parent and isinstance(parent.value, ast.ClassDef):
            yield parent


def inherits(found: Found, target: str) -> bool:
    """Whether a class has "module:Class" among its ancestors, as far as their source can be found."""
    return any(base.target == target or inherits(base, target) for base in bases(found))


@cache
def _is_keyword_only(cls: ast.ClassDef) -> bool:
    options = [keyword for d in cls.decorator_list if isinstance(d, ast.Call) for keyword in d.keywords]
    return any(option.arg == "kw_only" and ast.unparse(option.value) == "True" for option in options)


def settings(target: str) -> dict[str, Setting]:
    """The settings of the class "module:Class", in the order of its constructor."""
    found = find_class(target)
    return (_settings(found) or {}) if found else {}


def _settings(found: Found) -> dict[str, Setting] | None:
    cls, module = found.value, found.module
    assert isinstance(cls, ast.ClassDef)
    for statement in cls.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            return _parameters(statement.args, module) | _passed_on(statement, found)
    if not _is_dataclass(cls):
        return _inherited(found)
    result: dict[str, Setting] = {}
    last: dict[str, Setting] = {}
    for base in reversed(list(bases(found))):
        if _is_dataclass(base.value):  # type: ignore[arg-type]
            (last if _is_keyword_only(base.value) else result).update(_settings(base) or {})  # type: ignore[arg-type]
    for statement in cls.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and _is_field(statement):
            name = setting_name(statement.target.id)
            result[name] = Setting(name, statement.annotation, _field_default(statement.value), module)
    return result | {name: setting for name, setting in last.items() if name not in result}


def _inherited(found: Found) -> dict[str, Setting] | None:
    """The settings of the first base class that has any constructor."""
    of_bases = (_settings(base) for base in bases(found))
    return next((result for result in of_bases if result is not None), None)


def _passed_on(init: ast.FunctionDef, found: Found) -> dict[str, Setting]:
    """The settings passed through `**more` to `super().__init__(..., **more)`, except those given there by name."""
    more = init.args.kwarg.arg if init.args.kwarg else None
    for call in ast.walk(init) if more else ():
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "super().__init__":
            passed = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            if passed.get(None) == more:
                known = list((_inherited(found) or {}).items())[len(call.args) :]
                return {name: setting for name, setting in known if name not in passed}
    return {}


def _options(value: ast.expr | None) -> dict[str | None, ast.expr] | None:
    """The arguments of `field(...)`, None for any other expression."""
    if isinstance(value, ast.Call) and dotted(value.func) in ("field", "dataclasses.field"):
        return {keyword.arg: keyword.value for keyword in value.keywords}
    return None


def _is_field(statement: ast.AnnAssign) -> bool:
    """Whether an annotated name in a dataclass is a parameter of its constructor."""
    hint = statement.annotation
    if dotted(hint.value if isinstance(hint, ast.Subscript) else hint).rpartition(".")[2] == "ClassVar":
        return False
    init = (_options(statement.value) or {}).get("init")
    return not (isinstance(init, ast.Constant) and init.value is False)


def _field_default(value: ast.expr | None) -> ast.expr | None:
    """The default of a dataclass field as an expression, None if it has none."""
    options = _options(value)
    if options is None:
        return value
    factory = options.get("default_factory")
    if isinstance(factory, ast.Lambda):
        return factory.body
    return ast.Call(factory, [], []) if factory is not None else options.get("default")


def _parameters(arguments: ast.arguments, module: Module) -> dict[str, Setting]:
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    pairs = [*zip(positional, [*defaults, *arguments.defaults], strict=True)][1:]
    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    named = [(setting_name(arg.arg), arg.annotation, default) for arg, default in pairs]
    return {name: Setting(name, annotation, default, module) for name, annotation, default in named}
