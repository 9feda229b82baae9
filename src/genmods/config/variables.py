"""Environment variables in recipes: `${NAME}` or `$NAME` in a text; `$$` is a dollar.

They are expanded in recipes and options that the user gives, never in what is read from a checkpoint, an export or a
run folder: a file from elsewhere must not read the environment. Text is saved as it is written, numbers as their
values, and so is everything of the task, since a checkpoint must hold its model.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from genmods.config.text import Node, RecipeError, scalar

_REFERENCE = re.compile(r"\$(\$|\{[^}]*\}?|[A-Za-z_][A-Za-z0-9_]*)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def expand(node: Node, path: str = "") -> None:
    """Expand the variables in all texts below a node, in place, once; raises RecipeError for one that is not set."""

    def value_of(found: re.Match[str]) -> str:
        name = found[1].removeprefix("{").removesuffix("}")
        if name == "$":
            return "$"
        if not _NAME.fullmatch(name) or found[1].startswith("{") != found[1].endswith("}"):
            raise RecipeError(node.where, path, f"expected ${{NAME}}, got '{found[0]}'; a dollar is $$")
        if name not in os.environ:
            raise RecipeError(node.where, path, f"the environment variable {name} is not set")
        return os.environ[name]

    for below, key in _children(node, path):
        expand(below, key)
    if node.written is None:
        _replace(node, value_of)


def read_saved(node: Node) -> None:
    """The inverse of saving, in place: dollars are read, and variables are marked as unresolved."""
    for below, _ in _children(node, ""):
        read_saved(below)
    names: list[str] = []

    def value_of(found: re.Match[str]) -> str:
        if found[1] != "$":
            names.append(found[0])
        return "$" if found[1] == "$" else found[0]

    _replace(node, value_of)
    node.unresolved = bool(names)


def keep_values(node: Node) -> None:
    """The texts below a node are saved as they are, expanded."""
    for below, _ in _children(node, ""):
        keep_values(below)
    if node.written is not None:
        node.written = str(node.text or node.value).replace("$", "$$")


def _children(node: Node, path: str) -> list[tuple[Node, str]]:
    if isinstance(node.value, dict):
        return [(item, f"{path}.{key}" if path else key) for key, item in node.value.items()]
    return [(item, f"{path}[{i}]") for i, item in enumerate(node.value)] if isinstance(node.value, list) else []


def _replace(node: Node, value_of: Callable[[re.Match[str]], str]) -> None:
    written = node.value if node.text is None else node.text
    if not isinstance(written, str) or not _REFERENCE.search(written):
        return
    text = _REFERENCE.sub(value_of, written)
    node.written = written
    if node.text is not None:
        node.text = text
    if not isinstance(node.value, dict | list):
        node.value = text if node.text is None or node.fault else scalar(text)
