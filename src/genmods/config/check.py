"""Checks parts of a recipe against the settings of their classes, as read from the source text.

A part is written as `name`, `{name: ..., setting: ...}` or `{from: RUN}`. Nothing is imported; every error has a file,
a line and a key path.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

from genmods.config import hints, registry
from genmods.config.parts import (
    FROM_DATA,
    From,
    Part,
    allowed,
    model_entry,
    of_training,
)
from genmods.config.reflect import Setting, dotted, find_class, lookup
from genmods.config.registry import Entry
from genmods.config.text import Node, RecipeError, Text, plain, with_marks
from genmods.core.errors import UserError, nearest
from genmods.core.expressions import NotComputable
from genmods.core.limits import asks_for, first_fault, is_from_data


class _Unknown:
    """A default that is neither a literal nor a registered part."""


UNKNOWN = _Unknown()


def default(setting: Setting) -> Any:
    """The default of a setting: a literal, a `Node` of a registered part, or UNKNOWN."""
    expression, module = setting.default, setting.module
    if isinstance(expression, ast.Call):
        return _default_part(setting)
    try:
        value = UNKNOWN if expression is None else hints.constant(expression, module)
    except NotComputable:
        return UNKNOWN
    if type(value) is int:  # `weight_decay: float = 0`
        forms = [hint.form for hint in hints.of(setting)]
        return float(value) if float in forms and int not in forms else value
    return value


def _default_part(setting: Setting) -> Any:
    call = setting.default
    assert isinstance(call, ast.Call)
    if dotted(call.func) in ("list", "dict", "tuple") and not call.args:
        return {"list": [], "dict": {}, "tuple": ()}[dotted(call.func)]
    found = lookup(setting.module, dotted(call.func))
    kinds = [hint.items[0] for hint in hints.of(setting) if hint.form == "part"]
    try:
        given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    except ValueError:
        return UNKNOWN
    if found and kinds and not call.args:
        for entry in registry.entries(kinds[0]).values():
            if (own := find_class(entry.target)) and own.target == found.target:
                return with_marks({"name": entry.name, **given}, f"the default of {setting.name}")
    return UNKNOWN


def part(kind: str, node: Node, path: str, standard: Node | None = None) -> Part | From:
    """The checked part that a node describes; `standard` is the default part."""
    if isinstance(node.value, dict) and "from" in node.value and not (kind == "task" and "name" in node.value):
        return _from(kind, node, path)
    entry, given = named(kind, node, path, standard)
    return fill(entry, given, node.where, path)


def named(kind: str, node: Node, path: str, standard: Node | None = None) -> tuple[Entry, dict[str, Node]]:
    """The entry and the settings of a node, not yet checked."""
    given = _block(kind, node, path)
    if "name" not in given:
        if standard is None:
            raise RecipeError(node.where, path, f"requires a `name`{nearest('', registry.names(kind))}")
        given = {**standard.value, **given}
    name = given.pop("name")
    if name.fault is not None:
        raise name.fault
    below = f"{path}.name" if isinstance(node.value, dict) else path
    chosen = name.value if isinstance(name.value, str) else name.text
    if not chosen:
        raise hints.refusal(name, below, f"the name of a {kind}")
    try:
        return registry.find(kind, chosen), given
    except UserError as error:
        raise RecipeError(name.where, below, str(error)) from error


def _block(kind: str, node: Node, path: str) -> dict[str, Node]:
    if isinstance(node.value, str):
        return {"name": node}
    if not isinstance(node.value, dict):
        raise hints.refusal(node, path, f"a {kind}")
    if "class_path" in node.value:
        raise RecipeError(
            node.value["class_path"].where,
            f"{path}.class_path",
            f"a recipe names registered parts only; put @register('{kind}', 'mine') on the class, "
            "import its file and write `name: mine`",
        )
    return dict(node.value)


def _from(kind: str, node: Node, path: str) -> From:
    given = dict(node.value)
    run = given.pop("from")
    known = of_training(kind)
    for key, extra in given.items():
        if key not in known:
            raise RecipeError(extra.where, f"{path}.{key}", "must not be combined with `from`")
    values = {name: _value(known[name], item, f"{path}.{name}", None) for name, item in given.items()}
    if found := first_fault(values, {name: hints.of(known[name]) for name in values}):
        raise RecipeError(given[found[0]].where, f"{path}.{found[0]}", found[1])
    return From(kind, _run(run, path), node.where, path, given=values)


def _run(node: Node, path: str) -> str:
    run = node.value if isinstance(node.value, str) else node.text
    if not run:
        raise hints.refusal(node, f"{path}.from", "a run folder")
    return Text.of(node, run)


def fill(entry: Entry, given: dict[str, Node], where: str, path: str) -> Part:
    """The part of an entry with checked settings: unknown keys, types, missing required settings."""
    result = Part(entry, where, path, {})
    try:
        model = model_entry(entry)
        refuse_unknown(entry, given, path, [*allowed(entry), *(["from"] if model else [])])
        if model:
            theirs = {key: node for key, node in given.items() if key in allowed(model)}
            taken = given.get("from")
            result.given["model"] = _taken(model, taken, theirs, path) if taken else fill(model, theirs, where, path)
        for name, setting in result.settings().items():
            _fill_one(result, setting, given.get(name))
        _check_limits(result, given)
    except RecipeError:
        raise
    except UserError as error:  # a hint that cannot be read
        raise RecipeError(where, path, f"{entry}: {error}") from error
    return result


def _taken(model: Entry, run: Node, given: dict[str, Node], path: str) -> From:
    """The model of an earlier run, with some settings replaced by checked ones."""
    known = Part(model, run.where, path, {}).settings()
    result = Part(model, run.where, path, {})
    result.given = {name: _value(known[name], node, f"{path}.{name}", None) for name, node in given.items()}
    _check_limits(result, given)
    return From("model", _run(run, path), run.where, path, model, result.given)


def _fill_one(part: Part, setting: Setting, node: Node | None) -> None:
    """Convert the value of a setting, or its default if that is a part."""
    below = f"{part.path}.{setting.name}"
    alternatives = hints.of(setting)
    left = is_from_data(alternatives)
    standard = default(setting) if setting.default is not None else None
    if node is not None:
        if not (left and node.value == FROM_DATA):
            part.given[setting.name] = _value(setting, node, below, standard)
    elif isinstance(standard, Node):
        part.given[setting.name] = _value(setting, with_marks(plain(standard), part.where), below, None)
    elif setting.default is None and not left:
        raise RecipeError(
            part.where, part.path, f"{part.entry} requires `{setting.name}`: {hints.describe(alternatives)}"
        )


def _check_limits(part: Part, given: dict[str, Node]) -> None:
    """Raise RecipeError, with the message of the constructor, for values that violate the limits of the hints."""
    values = {name: value for name, value in _values(part).items() if _is_plain(value)}
    alternatives = {name: hints.of(setting) for name, setting in part.settings().items()}
    if found := first_fault(values, alternatives):
        name, message = found
        guilty = next((key for key in (name, *sorted(asks_for(alternatives[name]))) if key in given), None)
        where, path = (given[guilty].where, f"{part.path}.{guilty}") if guilty else (part.where, part.path)
        raise RecipeError(where, path, message)


def _values(part: Part) -> dict[str, Any]:
    """The given settings, and the defaults of the others except those left to the data."""
    left = part.open()
    return {
        name: part.given[name] if name in part.given else default(setting)
        for name, setting in part.settings().items()
        if name in part.given or (setting.default is not None and name not in left)
    }


def _is_plain(value: Any) -> bool:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return all(map(_is_plain, items)) and not isinstance(value, Part | From | Node | _Unknown)


def refuse_unknown(entry: Entry, given: dict[str, Node], path: str, known: Iterable[str]) -> None:
    """Raise RecipeError for an unknown setting."""
    for key, node in given.items():
        if key not in known:
            raise RecipeError(node.where, f"{path}.{key}", f"{entry} has no setting '{key}'{nearest(key, known)}")


def _value(setting: Setting, node: Node, path: str, standard: Any) -> Any:
    stands = standard if isinstance(standard, Node) else None
    return hints.convert(
        hints.of(setting),
        node,
        path,
        lambda kind, inner, below: part(kind, inner, below, stands if below == path else None),
    )
