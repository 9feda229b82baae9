"""The public names of a package, imported when they are first used.

A package lists them once, as imports for type checkers and editors, `if TYPE_CHECKING`. `from package.part import *`
re-exports the public names of a package inside.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any


def lazy(package: str) -> tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]:
    """`__all__`, `__getattr__` and `__dir__` of a package, from its imports `if TYPE_CHECKING`."""
    spec: Any = sys.modules[package].__spec__
    body = ast.parse(spec.loader.get_source(package)).body
    block = next(n for n in body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    modules = {name: str(node.module) for node in imports for name in _names(node)}
    names = sorted(modules)

    def load(name: str) -> Any:
        module = modules.get(name)
        if module is None:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        value = import_module(f"{package}.{name}") if module == package else getattr(import_module(module), name)
        setattr(sys.modules[package], name, value)
        return value

    return names, load, lambda: names


def _names(node: ast.ImportFrom) -> list[str]:
    names = [alias.name for alias in node.names]
    return import_module(str(node.module)).__all__ if names == ["*"] else names
