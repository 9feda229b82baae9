"""Reads the members of classes from their source text, without importing them."""

from __future__ import annotations

import ast
from typing import Any

from genmods.config.reflect import Found, bases

_LARGE = ("lightning", "torch")
"""Packages whose classes have none of the members, and whose source takes long to parse."""


def constant(found: Found | None, name: str) -> Any:
    """The literal that a class, or its nearest base, assigns to `name` or returns from it; otherwise None."""
    if found is None or not isinstance(found.value, ast.ClassDef):
        return None
    for statement in found.value.body:
        if name in _named(statement):
            value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else _returned(statement)
            try:
                return ast.literal_eval(value) if value is not None else None
            except ValueError:
                return None
    return next((value for base in bases(found, _LARGE) if (value := constant(base, name)) is not None), None)


def has_member(found: Found | None, name: str) -> bool:
    """Whether a class has a member `name`: a method, a value other than None, or what its constructor assigns."""
    return bool(_member(found, name))


def _member(found: Found | None, name: str) -> bool | None:
    """The same of the class or its nearest base that has the name in its source; None if none has."""
    if found is None or not isinstance(found.value, ast.ClassDef):
        return None
    for statement in found.value.body:
        if name in _named(statement):
            value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else statement
            if value is not None:
                return not (isinstance(value, ast.Constant) and value.value is None)
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__" and _assigns(statement, name):
            return True
    return next((known for base in bases(found, _LARGE) if (known := _member(base, name)) is not None), None)


def _named(statement: ast.stmt) -> list[str]:
    """The names that a statement of a class body assigns."""
    if isinstance(statement, ast.FunctionDef):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _returned(statement: ast.stmt) -> ast.expr | None:
    """The expression returned by a function that only returns one; otherwise None."""
    last = statement.body[-1] if isinstance(statement, ast.FunctionDef) else None
    return last.value if isinstance(last, ast.Return) else None


def _assigns(init: ast.FunctionDef, name: str) -> bool:
    """Whether a constructor assigns `self.NAME`."""
    stores = (node for node in ast.walk(init) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store))
    return any(ast.unparse(node) == f"self.{name}" for node in stores)
