"""Overrides of a recipe: `--task.network.width=64` or `--trainer.max_steps 10` on the command line, with values in YAML
syntax, and nested settings in Python.

Order does not matter: blocks are replaced before their settings are changed. Changing the name of a block, or taking it
`from` a run, discards its other settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from genmods.config.text import Node, RecipeError, parse, with_marks
from genmods.config.variables import expand

WHERE = "command line"
Change = tuple[str, Node]
"""The key path of a setting, and its new value with its location."""


def split(arguments: list[str]) -> list[tuple[str, str]]:
    """Pairs (key path, value text) of `--key=value` and `--key value` arguments; raises RecipeError."""
    pairs = []
    waiting = iter(arguments)
    for argument in waiting:
        if not argument.startswith("--") or argument == "--":
            raise RecipeError(WHERE, "", f"'{argument}' is neither an option nor an override --KEY=VALUE")
        key, equals, value = argument[2:].partition("=")
        if not all(key.split(".")):
            raise RecipeError(WHERE, "", f"expected --KEY=VALUE, got '{argument}'")
        if not equals:
            value = next(waiting, "--")
            if value.startswith("--"):
                raise RecipeError(WHERE, key, f"requires a value: --{key}=VALUE")
        pairs.append((key, value))
    return pairs


def of_arguments(arguments: list[str]) -> Iterator[Change]:
    """The changes given by `--key=value` and `--key value` arguments; raises RecipeError."""
    for key, text in split(arguments):
        node = _option(key, text)
        expand(node, key)
        yield key, node


def _option(key: str, text: str) -> Node:
    """The value of an option. A setting of text takes all its characters, unless they are quoted."""
    try:
        node = parse(text, f"{WHERE}: {key}", marks=False)
    except RecipeError as error:
        if not text.isprintable():
            raise
        return Node(text, WHERE, text, fault=error)
    _move(node, WHERE)
    if node.text is not None or not isinstance(node.value, str):
        node.text = text
        node.value = text if isinstance(node.value, str) else node.value
    return node


def _move(node: Node, where: str) -> None:
    node.where = where
    inner = node.value.values() if isinstance(node.value, dict) else node.value if isinstance(node.value, list) else ()
    for item in inner:
        _move(item, where)


def of_settings(settings: Mapping[str, Any], where: str, path: str = "") -> Iterator[Change]:
    """The changes given by nested settings; a list is one value."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from of_settings(value, where, f"{path}{name}.")
        else:
            node = with_marks(value, where)
            expand(node, f"{path}{name}")
            yield f"{path}{name}", node


def apply(root: Node, changes: Iterable[Change], kept: Iterable[str] = ()) -> None:
    """Apply changes to the tree in place; `kept` are the keys of `data` that are preserved when its name changes."""
    blocks = []
    for key, value in changes:
        keys = key.split(".")
        if len(keys) > 1 and keys[-1] == "name":
            keys.pop()
            if not isinstance(value.value, str):
                if not value.text:
                    raise RecipeError(value.where, key, f"expected a name, got '{value.value}'")
                value = Node(value.text, value.where)
        elif len(keys) > 1 and keys[-1] == "from" and keys[0] != "data" and not _taken_whole(root, keys):
            keys.pop()
            value = Node({"from": value}, value.where)
        blocks.append((keys, value))
    for keys, value in sorted(blocks, key=lambda block: len(block[0])):
        _set(root, keys, value, kept if keys == ["data"] else ())


def _taken_whole(root: Node, keys: list[str]) -> bool:
    """Whether these are the keys of `from` in a task that also has a name."""
    task = root.value.get("task") if keys == ["task", "from"] else None
    return task is not None and isinstance(task.value, dict) and {"name", "from"} <= task.value.keys()


def _set(root: Node, keys: list[str], value: Node, kept: Iterable[str]) -> None:
    block = root
    for depth, key in enumerate(keys[:-1]):
        block = _step(block, key, keys[:depth], value.where)
    last = keys[-1]
    container = _container(block, keys[:-1], value.where)
    if isinstance(container, list):
        container[_index(container, last, keys, value.where)] = value
        return
    old = container.get(last)
    if old is not None and isinstance(old.value, dict) and isinstance(value.value, str) and len(old.value):
        same = "name" in old.value and old.value["name"].value == value.value
        stays = {key: item for key, item in old.value.items() if same or key in kept}
        container[last] = Node({**stays, "name": value}, old.where)
    else:
        container[last] = value


def _container(block: Node, keys: list[str], where: str) -> dict[str, Node] | list[Node]:
    """The mapping or list inside a node; a name becomes the block `{name: ...}`, null an empty block."""
    if isinstance(block.value, str):
        block.value = {"name": Node(block.value, block.where)}
    elif block.value is None:
        block.value = {}
    if not isinstance(block.value, dict | list):
        raise RecipeError(where, ".".join(keys), f"must be a block of settings, got {block.value!r}")
    return block.value


def _step(block: Node, key: str, keys: list[str], where: str) -> Node:
    container = _container(block, keys, where)
    if isinstance(container, list):
        return container[_index(container, key, [*keys, key], where)]
    return container.setdefault(key, with_marks({}, where))


def _index(items: list[Node], key: str, keys: list[str], where: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", key) or int(key) >= len(items):
        raise RecipeError(where, ".".join(keys), f"expected an index below {len(items)}, got '{key}'")
    return int(key)
