"""Recipes that change another one: `base: other.yaml`, a path relative to the file or the name of a shipped recipe.

Blocks are merged, everything else is replaced. A block with another `name`, or taken `from` a run, has none of the
settings of the base. Every value keeps the file and line in which it is written.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from genmods.config.shipped import locate, shipped
from genmods.config.text import Node, RecipeError, read
from genmods.config.variables import expand
from genmods.core.errors import UserError

KEY = "base"


def read_recipe(path: Path, kept: Iterable[str] = (), above: tuple[Path, ...] = ()) -> Node:
    """The tree of a recipe file, merged with that of its base.

    Args:
        path: The file.
        kept: The settings of `data` that remain if its name changes.
        above: The files whose base, directly or indirectly, this file is.

    Raises:
        RecipeError: If a file cannot be read, or is its own base.
    """
    root = read(path)
    if not isinstance(root.value, dict) or KEY not in root.value:
        return root
    key = root.value.pop(KEY)
    expand(key, KEY)
    if not isinstance(key.value, str):
        raise RecipeError(key.where, KEY, "must be the path of a recipe or the name of a shipped one")
    chain = (*above, path.resolve())
    found = _located(path, key)
    if found.resolve() in chain:
        raise RecipeError(key.where, KEY, f"{found} is based on this recipe")
    base = read_recipe(found, kept, chain)
    if not isinstance(base.value, dict):
        return base  # refused with its location
    sections = {name: node for name, node in base.value.items() if name != "name"}
    for name, node in root.value.items():
        before = sections.get(name)
        sections[name] = node if before is None else merged(before, node, kept if name == "data" else ())
    return Node(sections, root.where)


def _located(path: Path, key: Node) -> Path:
    """The file that `base` names."""
    beside = Path(os.path.normpath(path.parent / key.value))
    if os.path.isfile(beside) or key.value not in shipped():
        try:
            return locate(beside)[0]
        except UserError as error:
            raise RecipeError(key.where, KEY, str(error)) from error
    return shipped()[key.value]


def merged(base: Node, own: Node, kept: Iterable[str] = ()) -> Node:
    """A value of a base, changed by the value in the recipe itself; `kept` are settings that outlast a new name."""
    if isinstance(base.value, dict) and isinstance(own.value, str):
        own = Node({"name": own}, own.where)
    elif isinstance(own.value, dict) and isinstance(base.value, str):
        base = Node({"name": base}, base.where)
    if not isinstance(base.value, dict) or not isinstance(own.value, dict):
        return own
    below = base.value if _is_same(base.value, own.value) else {k: base.value[k] for k in kept if k in base.value}
    changed = {key: merged(below[key], node) if key in below else node for key, node in own.value.items()}
    return Node({**below, **changed}, own.where)


def _is_same(base: dict[str, Node], own: dict[str, Node]) -> bool:
    """Whether two blocks describe the same part, so that the settings of the first apply to the second."""
    return all(key in base and base[key].value == own[key].value for key in ("name", "from") if key in own)
