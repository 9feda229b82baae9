"""Detects whether functions or tables of genmods were replaced, as the import of another module can do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FunctionType, MappingProxyType, ModuleType
from typing import Any

Place = tuple[str, str]


def functions_by_place() -> dict[Place, int]:
    """The functions, methods, classes and tables of all imported genmods modules, as identities by module and name."""
    return {place: id(value) for place, value in _functions()}


def replaced_by(package: str, before: dict[Place, int]) -> str:
    """What the import of `package` replaced, such as "genmods.core.checkpoint.load"; "" for nothing.

    A function counts as replaced if it differs from `before` and belongs to the package.
    """
    now = dict(_functions()) if before else {}
    for place, value in now.items():
        if before.get(place, id(value)) != id(value) or _origin(value).partition(".")[0] == package:
            return ".".join(place)
    return next((".".join(place) for place in before if place not in now), "")


def _functions() -> Iterator[tuple[Place, Any]]:
    for module_name, module in list(sys.modules.items()):
        if not module_name.startswith("genmods.") or not isinstance(module, ModuleType):
            continue
        for name, value in list(vars(module).items()):
            if isinstance(value, FunctionType | type | MappingProxyType):
                yield (module_name, name), value
            if isinstance(value, type) and value.__module__ == module_name:
                for method, inner in vars(value).items():
                    if isinstance(inner, FunctionType | classmethod | staticmethod | property):
                        yield (module_name, f"{name}.{method}"), inner


def _origin(value: Any) -> str:
    """The module that defines a function or class."""
    function = getattr(value, "fget", None) or getattr(value, "__func__", value)
    return (
        function.__globals__.get("__name__", "")
        if isinstance(function, FunctionType)
        else getattr(value, "__module__", "")
    )
