"""A JSON Schema of recipes for editors, generated from the declared settings of all registered parts.

An editor with a YAML language server completes names and settings by it and marks misspelt ones. Comparisons of
settings with each other cannot be expressed; `check` reports them.
"""

from __future__ import annotations

import math
from typing import Any

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen, MultipleOf

from genmods.config import hints, registry
from genmods.config.base import KEY
from genmods.config.builtins import KINDS
from genmods.config.check import UNKNOWN, default
from genmods.config.parts import FROM_DATA, allowed
from genmods.config.recipe import MODULE, NOT_SET_HERE, PRECISIONS, TRAINER
from genmods.config.reflect import Setting, summary
from genmods.config.registry import Entry
from genmods.config.text import Node
from genmods.core.errors import UserError
from genmods.core.limits import Form, Hint, Hints, Length, bound_of, is_from_data

Schema = dict[str, Any]
_TEXT: Schema = {"type": ["string", "number", "boolean"]}
_TYPES: dict[Any, Schema] = {
    "any": {},
    "null": {"type": "null"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    str: _TEXT,  # unquoted text may look like a number
}
_VARIABLE = "variable"
_NUMBERS: dict[type, tuple[str, ...]] = {
    Ge: ("minimum",),
    Gt: ("exclusiveMinimum",),
    Le: ("maximum",),
    Lt: ("exclusiveMaximum",),
    MultipleOf: ("multipleOf",),
}
_LENGTHS: dict[type, tuple[str, ...]] = {MinLen: ("minItems",), MaxLen: ("maxItems",), Length: ("minItems", "maxItems")}


def recipe_schema() -> Schema:
    """The schema (JSON Schema 2020-12) of a recipe with the parts that are registered."""
    definitions: dict[str, Schema] = {_VARIABLE: {"type": "string", "pattern": r"\$"}}
    for kind in KINDS:
        parts = {name: _part(entry) for name, entry in registry.entries(kind).items()}
        definitions |= {f"{kind}.{name}": part for name, part in parts.items() if part}
        definitions[kind] = _kind(kind, [name for name, part in parts.items() if part])
    modules = definitions["data_module"]["anyOf"]
    definitions["data"]["anyOf"] += modules
    trainer = {name: setting for name, setting in allowed(TRAINER).items() if name not in NOT_SET_HERE}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A recipe of genmods",
        "type": "object",
        "properties": {
            KEY: {"type": "string", "description": "another recipe, which this one changes"},
            "name": {**_TEXT, "description": "the name of the folder of its runs"},
            "seed": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 2**32 - 1}, _ref(_VARIABLE)]},
            "task": _ref("task"),
            "data": _ref("data"),
            "optimizer": _ref("optimizer"),
            "schedule": {"anyOf": [_ref("schedule"), {"type": "null"}]},
            "trainer": _block(_settings(trainer) | {"precision": {"enum": [*PRECISIONS, 16, 32]}}),
            "logger": _list("logger"),
            "callbacks": _list("callback"),
        },
        "additionalProperties": False,
        "$defs": definitions,
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _list(kind: str) -> Schema:
    return {"anyOf": [_ref(kind), {"type": "array", "items": _ref(kind)}, {"type": "null"}]}


def _block(properties: dict[str, Schema], **more: Any) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False, **more}


def _kind(kind: str, names: list[str]) -> Schema:
    """A part of a kind: a name, a block with a name, `{from: RUN}`, or a block that changes that of the base."""
    run = _block({"from": {"type": "string"}}, required=["from"])
    change = {"type": "object", "properties": {"name": False, "from": False}}
    return {"anyOf": [{"enum": names}, *(_ref(f"{kind}.{name}") for name in names), run, change, _ref(_VARIABLE)]}


def _part(entry: Entry) -> Schema | None:
    """The block of a part; None for one whose settings cannot be read."""
    try:
        known = allowed(entry)
        if entry.kind == "data":
            known = {**allowed(MODULE), **known}
        settings = _settings(known)
    except (UserError, SyntaxError):
        return None
    run = {"from": {"type": "string"}} if entry.kind == "task" else {}
    return _block(
        {"name": {"const": entry.name}, **run, **settings}, required=["name"], description=summary(entry.target)
    )


def _settings(known: dict[str, Setting]) -> dict[str, Schema]:
    return {name: _setting(setting) for name, setting in known.items() if hints.of(setting)}


def _setting(setting: Setting) -> Schema:
    alternatives = hints.of(setting)
    choices = _several(alternatives)
    if is_from_data(alternatives):
        choices.append({"const": FROM_DATA})
    result: Schema = {"anyOf": [*choices, _ref(_VARIABLE)]} if {} not in choices else {}
    standard = default(setting) if setting.default is not None else UNKNOWN
    if standard is not UNKNOWN and not isinstance(standard, Node) and _is_json(standard):
        result["default"] = standard
    if words := hints.limits_in_words(alternatives):
        result["description"] = words
    return result


def _is_json(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_json, value))
    return value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _several(alternatives: Hints) -> list[Schema]:
    return [_one(hint) for hint in alternatives]


def _one(hint: Hint) -> Schema:
    if hint.form == "choice":
        return {"enum": list(hint.items)}
    if hint.form == "part":
        return _ref(hint.items[0])
    if hint.form == "dict":
        return {"type": "object", "additionalProperties": _any_of(hint.items[0])}
    if hint.form == "tuple":
        return {"type": "array", "prefixItems": [_any_of(item) for item in hint.items], "minItems": len(hint.items)}
    if hint.form in ("list", "tuple..."):
        return {"type": "array", "items": _any_of(hint.items[0]), **_limits(hint, _LENGTHS)}
    forms = [f"^{limit.pattern}$" for limit in hint.limits if isinstance(limit, Form)]
    return {**_TYPES.get(hint.form, {}), **_limits(hint, _NUMBERS), **({"pattern": forms[0]} if forms else {})}


def _any_of(alternatives: Hints) -> Schema:
    choices = _several(alternatives)
    return choices[0] if len(choices) == 1 else {"anyOf": choices} if choices else {}


def _limits(hint: Hint, names: dict[type, tuple[str, ...]]) -> Schema:
    """The limits that are numbers, not arithmetic with other settings."""
    found: Schema = {}
    for limit in hint.limits:
        for name in names.get(type(limit), ()):
            bound = bound_of(limit)
            if isinstance(bound, int | float) and math.isfinite(bound):
                found[name] = bound
    return found
