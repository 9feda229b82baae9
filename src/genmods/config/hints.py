"""Type hints as syntax: what a recipe may write for a setting, and how its value is judged.

A hint becomes a flat list of alternatives; a value is taken by the first that accepts it. A hint that names the base
class of a registry kind (`K`, `K | None`, `list[K]`, `dict[str, K]`) accepts a part of that kind.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from genmods.config.builtins import KINDS
from genmods.config.reflect import Module, dotted, lookup
from genmods.config.text import Node, RecipeError, plain

_SCALARS: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str, "Path": str, "PathLike": str}
_NAMES = {bool: "true or false", int: "an int", float: "a number", str: "a text"}
_SEQUENCES = ("list", "List", "Sequence", "Iterable", "Collection", "tuple", "Tuple")
_MAPPINGS = ("dict", "Dict", "Mapping")
_FOREIGN = ("Tensor", "Callable", "timedelta")  # nothing that a recipe writes, and slow to look up


class Hint(NamedTuple):
    """One alternative: `form` is a Python type, "null", "any", "choice", "list", "tuple", "dict" or "part"."""

    form: Any
    items: tuple[Any, ...] = ()  # choices; hints of the items (alternatives each); the kind

    def __str__(self) -> str:
        if self.form == "choice":
            return " or ".join(map(repr, self.items))
        if self.form == "part":
            return f"a {self.items[0]}"
        if self.form in ("list", "tuple", "tuple...", "dict"):
            form = "list" if self.form in ("list", "tuple...") else self.form
            joined = ", ".join(describe(item) for item in self.items)
            return f"a list of {len(self.items)}: {joined}" if form == "tuple" else f"a {form} of [{joined}]"
        return _NAMES.get(self.form, str(self.form))


Hints = tuple[Hint, ...]
Build = Callable[[str, Node, str], Any]
ANY = (Hint("any"),)


def describe(hints: Hints) -> str:
    """The alternatives in words."""
    return " or ".join(dict.fromkeys(map(str, hints))) or "nothing that a recipe can write"


@cache
def _kinds() -> dict[str, str]:
    return {target: kind for kind, target in KINDS.items()}


def read(hint: ast.expr | None, module: Module) -> Hints:
    """The alternatives of a hint; what a recipe cannot write (a tensor, a callable) is left out."""
    if hint is None:
        return ANY
    if isinstance(hint, ast.Constant):
        if hint.value is None:
            return (Hint("null"),)
        return read(ast.parse(hint.value, mode="eval").body, module) if isinstance(hint.value, str) else ()
    if isinstance(hint, ast.BinOp):
        return read(hint.left, module) + read(hint.right, module)
    if isinstance(hint, ast.Subscript):
        items = hint.slice.elts if isinstance(hint.slice, ast.Tuple) else [hint.slice]
        return _generic(dotted(hint.value).rpartition(".")[2], items, module)
    return _named(dotted(hint), module)


def _generic(name: str, items: list[ast.expr], module: Module) -> Hints:
    if name in ("Optional", "Union"):
        extra = (Hint("null"),) if name == "Optional" else ()
        return tuple(found for item in items for found in read(item, module)) + extra
    if name == "Literal":
        return (Hint("choice", tuple(ast.literal_eval(item) for item in items)),)
    if name in ("Annotated", "Final"):
        return read(items[0], module)
    if name in ("tuple", "Tuple"):
        variadic = isinstance(items[-1], ast.Constant) and items[-1].value is Ellipsis
        items = items[:1] if variadic else items
        return (Hint("tuple..." if variadic else "tuple", tuple(read(item, module) for item in items)),)
    if name in _SEQUENCES:
        return (Hint("list", (read(items[0], module),)),)
    if name in _MAPPINGS:
        return (Hint("dict", (read(items[-1], module),)),)
    return ()


def _named(name: str, module: Module) -> Hints:
    short = name.rpartition(".")[2]
    if short in _SCALARS:
        return (Hint(_SCALARS[short]),)
    if short == "Any":
        return ANY
    if short in _FOREIGN:
        return ()
    if short in _SEQUENCES:
        return (Hint("list", (ANY,)),)
    if short in _MAPPINGS:
        return (Hint("dict", (ANY,)),)
    found = lookup(module, name)
    if found and not isinstance(found.value, ast.ClassDef):
        return read(found.value, found.module)  # an alias
    kind = _kinds().get(found.target) if found else None
    return (Hint("part", (kind,)),) if kind else ()


class Mismatch(Exception):
    """The value fits none of the alternatives."""


def convert(hints: Hints, node: Node, path: str, build: Build) -> Any:
    """The value of a node under a hint; `build(kind, node, path)` makes the parts. Raises RecipeError."""
    for hint in sorted(hints, key=lambda hint: hint.form is float):  # 1 is an int where both are allowed
        try:
            return _accept(hint, node, path, build)
        except Mismatch:
            continue
    raise RecipeError(node.where, path, f"expected {describe(hints)}, got {told(node.value)}")


def told(value: Any) -> str:
    """A value as an error line shows it."""
    if isinstance(value, dict):
        return "a block of settings"
    if isinstance(value, list):
        return "a list"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"the text '{value}'" if isinstance(value, str) else repr(value)


def _accept(hint: Hint, node: Node, path: str, build: Build) -> Any:
    value, form = node.value, hint.form
    if form == "any":
        return plain(node)
    if form == "part" and not isinstance(value, list | bool | int | float | None):
        return build(hint.items[0], node, path) if isinstance(value, str | dict) else value
    if form == "null" and value is None:
        return None
    if form == "choice" and any(value == choice and type(value) is type(choice) for choice in hint.items):
        return value
    if form in ("list", "tuple", "tuple...") and isinstance(value, list):
        if form == "tuple" and len(value) != len(hint.items):
            raise Mismatch
        inner = hint.items if form == "tuple" else hint.items * len(value)
        result = [convert(h, item, f"{path}[{i}]", build) for i, (h, item) in enumerate(zip(inner, value, strict=True))]
        return result if form == "list" else tuple(result)
    if form == "dict" and isinstance(value, dict):
        return {key: convert(hint.items[0], item, f"{path}.{key}", build) for key, item in value.items()}
    if form is float and type(value) is int:
        return float(value)
    if isinstance(form, type) and type(value) is form:
        return value
    raise Mismatch
