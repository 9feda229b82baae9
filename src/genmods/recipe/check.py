"""Parts of a recipe judged against the settings of their classes, as read from the source text.

A part is written `name`, `{name: ..., setting: ...}` or `{from: RUN}`. What is checked here is what is built later:
nothing is imported, every fault has a file, a line and a key path.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Any

from genmods import registry
from genmods.errors import UserError
from genmods.recipe import hints
from genmods.recipe.source import Setting, dotted, find_class, lookup, settings
from genmods.recipe.text import Node, RecipeError, marked, plain
from genmods.registry import Entry, nearest

FACTS = ("in_channels", "image_size", "num_classes", "mean", "std", "sigma_data", "levels", "class_names")
"""What the data module knows: fills a setting of that name that the recipe leaves open."""
OPEN = "from data"
"""How a setting that is left to the data is written in a resolved recipe."""
LATE = {"optimizer": ("params",), "schedule": ("optimizer", "total_steps")}
"""Kinds whose parts are completed by the task, and the parameters it fills."""


class _Unknown:
    """The default is no literal and no registered part."""


UNKNOWN = _Unknown()


@dataclass(slots=True)
class From:
    """`{from: RUN}`: the part of this kind that an earlier run trained."""

    kind: str
    run: str
    where: str
    path: str


@dataclass(slots=True)
class Part:
    """A checked part: the class to build, and the value of each setting that is given or has a part as its default."""

    entry: Entry
    where: str
    path: str
    given: dict[str, Any]
    facts: bool = True
    omitted: tuple[str, ...] = field(default=())

    @property
    def kind(self) -> str:
        return self.entry.kind

    def open(self) -> list[str]:
        """The settings that are left to the data."""
        return [name for name in self.settings() if self.facts and name in FACTS and name not in self.given]

    def settings(self) -> dict[str, Setting]:
        """The settings that a recipe may write."""
        return allowed(self.entry, self.omitted)


def allowed(entry: Entry, omitted: tuple[str, ...] = ()) -> dict[str, Setting]:
    """The settings that a recipe may write: not those that the task fills, nor `name`, which names the part."""
    hidden = (*omitted, *LATE.get(entry.kind, ()), "name")
    found = settings(entry.target)
    if entry.kind in LATE:
        found = dict(list(found.items())[1:])
    return {name: setting for name, setting in found.items() if name not in hidden}


def default(setting: Setting) -> Any:
    """The default of a setting: a literal, a `Node` that names a registered part, or UNKNOWN."""
    expression, module = setting.default, setting.module
    if isinstance(expression, ast.Call):
        return _default_part(setting)
    if isinstance(expression, ast.Name) and (found := lookup(module, expression.id)):
        expression = found.value if isinstance(found.value, ast.expr) else expression
    try:
        return ast.literal_eval(expression)  # type: ignore[arg-type]
    except (ValueError, TypeError, SyntaxError):
        return UNKNOWN


def _default_part(setting: Setting) -> Any:
    call = setting.default
    assert isinstance(call, ast.Call)
    if dotted(call.func) in ("list", "dict", "tuple") and not call.args:
        return {"list": [], "dict": {}, "tuple": ()}[dotted(call.func)]
    found = lookup(setting.module, dotted(call.func))
    kinds = [hint.items[0] for hint in hints.read(setting.hint, setting.module) if hint.form == "part"]
    try:
        given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    except ValueError:
        return UNKNOWN
    if found and kinds and not call.args:
        for entry in registry.entries(kinds[0]).values():
            if (own := find_class(entry.target)) and own.target == found.target:
                return marked({"name": entry.name, **given}, f"the default of {setting.name}")
    return UNKNOWN


def part(kind: str, node: Node, path: str, facts: bool = True, standard: Node | None = None) -> Part | From:
    """The checked part that a node describes; `standard` is the part that stands there by default."""
    given = _block(kind, node, path)
    if "from" in given:
        return _from(kind, given, node, path)
    if "name" not in given:
        if standard is None:
            raise RecipeError(node.where, path, f"needs a `name`{nearest('', registry.names(kind))}")
        given = {**standard.value, **given}
    name = given.pop("name")
    below = f"{path}.name" if isinstance(node.value, dict) else path
    if not isinstance(name.value, str):
        raise RecipeError(name.where, below, f"expected the name of a {kind}, got {hints.told(name.value)}")
    try:
        entry = registry.find(kind, name.value)
    except UserError as error:
        raise RecipeError(name.where, below, str(error)) from error
    return fill(entry, given, node.where, path, facts)


def _block(kind: str, node: Node, path: str) -> dict[str, Node]:
    if isinstance(node.value, str):
        return {"name": node}
    if not isinstance(node.value, dict):
        raise RecipeError(node.where, path, f"expected a {kind}, got {hints.told(node.value)}")
    if "class_path" in node.value:
        raise RecipeError(
            node.value["class_path"].where,
            f"{path}.class_path",
            f"a recipe names registered parts only; put @register('{kind}', 'mine') on the class, "
            "bring it in with --import FILE.py and write `name: mine`",
        )
    return dict(node.value)


def _from(kind: str, given: dict[str, Node], node: Node, path: str) -> From:
    run = given.pop("from")
    for key, extra in given.items():
        raise RecipeError(extra.where, f"{path}.{key}", "a part taken `from` a run takes no other setting")
    if not isinstance(run.value, str):
        raise RecipeError(run.where, f"{path}.from", f"expected a run folder, got {hints.told(run.value)}")
    return From(kind, run.value, node.where, path)


def fill(
    entry: Entry, given: dict[str, Node], where: str, path: str, facts: bool = True, omitted: tuple[str, ...] = ()
) -> Part:
    """The part of an entry with its settings checked: unknown keys, types, and settings that have no default."""
    result = Part(entry, where, path, {}, facts, omitted)
    known = result.settings()
    for key, node in given.items():
        if key not in known:
            raise RecipeError(node.where, f"{path}.{key}", f"{entry} has no setting '{key}'{nearest(key, known)}")
    for name, setting in known.items():
        below = f"{path}.{name}"
        left = facts and name in FACTS
        standard = default(setting) if setting.default is not None else None
        if name in given:
            if left and given[name].value == OPEN:
                continue
            result.given[name] = _value(setting, given[name], below, facts, standard)
        elif isinstance(standard, Node):
            result.given[name] = _value(setting, marked(plain(standard), where), below, facts, None)
        elif setting.default is None and not left:
            alternatives = hints.describe(hints.read(setting.hint, setting.module))
            raise RecipeError(where, path, f"{entry} needs `{name}`: {alternatives}")
    return result


def _value(setting: Setting, node: Node, path: str, facts: bool, standard: Any) -> Any:
    stands = standard if isinstance(standard, Node) else None
    return hints.convert(
        hints.read(setting.hint, setting.module),
        node,
        path,
        lambda kind, inner, below: part(kind, inner, below, facts, stands if below == path else None),
    )
