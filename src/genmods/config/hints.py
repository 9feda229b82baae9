"""Type hints as syntax: the values that a recipe can set, and their conversion.

A hint becomes a flat list of alternatives with their limits, as `genmods.core.settings` reads them from a class. A hint
with the base class of a registry kind (`K`, `K | None`, `list[K]`, `dict[str, K]`) accepts a part of that kind.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import annotated_types

from genmods.config.builtins import KINDS
from genmods.config.reflect import Module, Setting, dotted, lookup
from genmods.config.text import Node, RecipeError, Text, plain
from genmods.core import limits, settings
from genmods.core.errors import UserError
from genmods.core.expressions import NotComputable, compute
from genmods.core.limits import ANY, Hint, Hints, limited

_SCALARS: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str, "Path": str, "PathLike": str}
_NAMES = {bool: "true or false", int: "an int", float: "a number", str: "a text"}
_SEQUENCES = ("list", "List", "Sequence", "Iterable", "Collection", "tuple", "Tuple")
_MAPPINGS = ("dict", "Dict", "Mapping")
_FOREIGN = ("Tensor", "Callable", "timedelta")  # cannot be set in a recipe, and slow to look up
_LIMITS = {module.__name__: module for module in (annotated_types, limits, settings)}
_DEPTH = 20
"""Maximum number of nested aliases of a hint."""

Build = Callable[[str, Node, str], Any]


def describe(hints: Hints) -> str:
    """The alternatives as text."""
    return " or ".join(dict.fromkeys(map(_described, hints))) or "not settable in a recipe"


def _described(hint: Hint) -> str:
    if hint.form == "choice":
        return limits.one_of(hint.items)
    if hint.form == "part":
        return f"a {hint.items[0]}"
    if hint.form in ("list", "tuple", "tuple...", "dict"):
        form = "list" if hint.form in ("list", "tuple...") else hint.form
        joined = ", ".join(describe(item) for item in hint.items)
        return f"a list of {len(hint.items)}: {joined}" if form == "tuple" else f"a {form} of [{joined}]"
    return _NAMES.get(hint.form, str(hint.form))


def limits_in_words(hints: Hints) -> str:
    """The limits of the alternatives as text, such as `at least 2; each at most 9`; empty if there are none."""
    parts: list[str] = []
    for hint in hints:
        parts += filter(None, map(limits.words, hint.limits))
        inner = hint.items if hint.form in ("list", "tuple", "tuple...", "dict") else ()
        parts += [f"each {text}" for item in inner if (text := limits_in_words(item))]
    return ", ".join(dict.fromkeys(parts))


@cache
def _kinds() -> dict[str, str]:
    return {target: kind for kind, target in KINDS.items()}


@cache
def of(setting: Setting) -> Hints:
    """The alternatives of a setting's hint. Raises UserError for a hint that cannot be read."""
    try:
        return read(setting.hint, setting.module)
    except UserError as error:
        raise UserError(f"{setting.module.name}: {setting.name}: {error}") from error


def read(hint: ast.expr | None, module: Module, depth: int = _DEPTH) -> Hints:
    """The alternatives of a hint, without those that a recipe cannot set (a tensor, a callable).

    Raises UserError for invalid syntax and for circular aliases.
    """
    if hint is None:
        return ANY
    if depth == 0:
        raise UserError(f"the hint '{ast.unparse(hint)}' is an alias of itself, or nested too deeply")
    if isinstance(hint, ast.Constant):
        if hint.value is None:
            return (Hint("null"),)
        return read(_parsed(hint.value), module, depth - 1) if isinstance(hint.value, str) else ()
    if isinstance(hint, ast.BinOp):
        return read(hint.left, module, depth) + read(hint.right, module, depth)
    if isinstance(hint, ast.Subscript):
        items = hint.slice.elts if isinstance(hint.slice, ast.Tuple) else [hint.slice]
        return _generic(dotted(hint.value).rpartition(".")[2], items, module, depth - 1)
    return _named(dotted(hint), module, depth - 1)


def _parsed(text: str) -> ast.expr:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"the hint {limits.shown(text)} is not an expression") from error


def _generic(name: str, items: list[ast.expr], module: Module, depth: int) -> Hints:
    def inner(item: ast.expr) -> Hints:
        return read(item, module, depth)

    if not items:
        return ()
    if name in ("Optional", "Union"):
        extra = (Hint("null"),) if name == "Optional" else ()
        return tuple(found for item in items for found in inner(item)) + extra
    if name == "Literal":
        return (Hint("choice", tuple(_constant(item, module) for item in items)),)
    if name == "Annotated":
        return limited(inner(items[0]), (found for item in items[1:] for found in _limit(item, module)))
    if name == "Final":
        return inner(items[0])
    if name in ("tuple", "Tuple"):
        variadic = isinstance(items[-1], ast.Constant) and items[-1].value is Ellipsis
        return (Hint("tuple..." if variadic else "tuple", tuple(map(inner, items[:1] if variadic else items))),)
    if name in _SEQUENCES:
        return (Hint("list", (inner(items[0]),)),)
    if name in _MAPPINGS:
        return (Hint("dict", (inner(items[-1]),)),)
    return ()


def _named(name: str, module: Module, depth: int) -> Hints:
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
    origin, there = module.imports.get(name, ("", ""))
    if origin == settings.__name__:
        return settings.read(getattr(settings, there, Any))
    found = lookup(module, name)
    if found and not isinstance(found.value, ast.ClassDef):
        return read(found.value, found.module, depth)  # an alias
    kind = _kinds().get(found.target) if found else None
    return (Hint("part", (kind,)),) if kind else ()


def _limit(expression: ast.expr, module: Module, depth: int = _DEPTH) -> tuple[Any, ...]:
    """The limit in an item of `Annotated`; empty for annotations of other libraries."""
    call = expression if isinstance(expression, ast.Call) else None
    name = dotted(call.func if call else expression)
    origin, there = module.imports.get(name, ("", ""))
    cls = getattr(_LIMITS.get(origin), there, None)
    if cls is None:  # a name of the module itself, or one that comes by way of another module
        found = lookup(module, name) if name else None
        if found is None:
            return ()
        if not isinstance(found.value, ast.ClassDef):
            return () if call or depth == 0 else _limit(found.value, found.module, depth - 1)
        cls = getattr(_LIMITS.get(found.module.name), found.value.name, None)
    if cls is None or call is None:
        return () if cls is None else (cls,)
    try:
        arguments = [_constant(item, module) for item in call.args]
        named = {keyword.arg or "": _constant(keyword.value, module) for keyword in call.keywords}
        return (cls(*arguments, **named),)
    except TypeError as error:
        raise UserError(f"the limit '{ast.unparse(expression)}' cannot be read: {error}") from error


def _constant(expression: ast.expr, module: Module) -> Any:
    try:
        return constant(expression, module)
    except NotComputable as error:
        raise UserError(f"'{ast.unparse(expression)}' in a hint is not a constant") from error


def constant(expression: ast.expr, module: Module, depth: int = _DEPTH) -> Any:
    """The value of literals, arithmetic and named constants of a module; raises NotComputable for anything else."""

    def value_of(name: str) -> Any:
        if name == "math.inf":
            return float("inf")
        found = lookup(module, name)
        if found is None or isinstance(found.value, ast.ClassDef) or depth == 0:
            raise LookupError(name)
        return constant(found.value, found.module, depth - 1)

    return compute(expression, value_of)


class Mismatch(Exception):
    """The value does not fit any of the alternatives."""


def convert(hints: Hints, node: Node, path: str, build: Build) -> Any:
    """Convert a node to a value of a hint; `build(kind, node, path)` builds parts. Raises RecipeError.

    A text takes the characters of a value that none of the alternatives fits: 2024, 1e3 and true may be names.
    """
    if node.fault is not None and {hint.form for hint in hints} - {str, "null"}:
        raise node.fault
    for hint in sorted(hints, key=lambda hint: hint.form is float):  # 1 is an int where both are allowed
        try:
            return _accept(hint, node, path, build)
        except Mismatch:
            continue
    text = node.text or ""
    for hint in hints if text else ():
        if hint.form is str or (hint.form == "choice" and text in hint.items):
            return Text.of(node, text) if hint.form is str else text
    raise refusal(node, path, describe(hints))


def refusal(node: Node, path: str, wanted: str) -> RecipeError:
    """The error for a value of the wrong type: `width must be an int, got 'wide'`."""
    message = f"{path.rpartition('.')[2]} must be {wanted}, got {describe_value(node.value)}"
    return node.fault or RecipeError(node.where, path, message)


def describe_value(value: Any) -> str:
    """A value as text for error messages."""
    if isinstance(value, dict):
        return "a block of settings"
    if isinstance(value, list):
        return "a list"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return limits.shown(value)


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
        if abs(value) > sys.float_info.max:
            raise refusal(node, path, "finite")
        return float(value)
    if isinstance(form, type) and type(value) is form:
        return Text.of(node, value) if isinstance(value, str) else value
    raise Mismatch
