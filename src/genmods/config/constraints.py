"""Range checks of a constructor, read from its source text and tried on a recipe's values before anything is imported.

A guard is `if CONDITION: raise ValueError(MESSAGE)` in `__init__` or `__post_init__`, also inside a `for` over literal
rows. It is evaluated only where it is made of settings, constants, operators and a few harmless functions, and no
setting that it reads has been assigned anew; every other guard is left to the constructor itself.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, NamedTuple

from genmods.config.reflect import Found, bases, dotted, find_class

_FUNCTIONS = {
    f.__name__: f for f in (abs, all, any, bool, float, int, isinstance, len, max, min, set, sorted, str, sum, tuple)
}
_SYNTAX = (
    *(ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.Compare, ast.IfExp, ast.Subscript, ast.GeneratorExp, ast.comprehension),
    *(ast.Constant, ast.Name, ast.Tuple, ast.List, ast.Set, ast.JoinedStr, ast.FormattedValue),
    *(ast.operator, ast.boolop, ast.unaryop, ast.cmpop, ast.expr_context),
)


class Guard(NamedTuple):
    """A condition that is refused, its message, and the rows that a surrounding `for` binds."""

    condition: ast.expr
    message: ast.expr
    changed: frozenset[str]  # names that no longer hold the setting
    bound: dict[str, ast.expr]


def refused(target: str, values: dict[str, Any]) -> tuple[str, set[str]] | None:
    """The message of the first guard that refuses `values`, and the names it looks at; None where none does."""
    found = find_class(target)
    for guard in _of_class(found) if found else ():
        known = {name: value for name, value in values.items() if name not in guard.changed}
        try:
            rows = {name: _evaluate(expression, known) for name, expression in guard.bound.items()}
            if _evaluate(guard.condition, known | rows):
                looked = {*_names(guard.condition)}.union(*map(_names, guard.bound.values()))
                return str(_evaluate(guard.message, known | rows)), looked
        except Exception:
            continue  # a name, a type or an operation that only the constructor knows
    return None


def _name(node: ast.AST) -> str:
    """`steps` for `steps` and for `self.steps`, else ""."""
    return dotted(node).removeprefix("self.") if isinstance(node, ast.Name | ast.Attribute) else ""


def _names(expression: ast.expr) -> set[str]:
    return {_name(node) for node in ast.walk(expression)}


class _Bare(ast.NodeTransformer):
    """`self.steps` as `steps`."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        return ast.copy_location(ast.Name(node.attr, ast.Load()), node) if dotted(node.value) == "self" else node


def _evaluate(expression: ast.expr, values: dict[str, Any]) -> Any:
    bare = _Bare().visit(ast.parse(ast.unparse(expression), mode="eval"))
    for node in ast.walk(bare.body):
        allowed = dotted(node.func) in _FUNCTIONS if isinstance(node, ast.Call) else isinstance(node, _SYNTAX)
        if not allowed:
            raise ValueError(f"{type(node).__name__} is not evaluated")
    return eval(compile(bare, "guard", "eval"), {"__builtins__": {}, **_FUNCTIONS, **values})


def _of_class(found: Found) -> Iterator[Guard]:
    """The guards of the constructor, and of the inherited one where there is none or `__post_init__` calls it."""
    assert isinstance(found.value, ast.ClassDef)
    methods = (
        m for m in found.value.body if isinstance(m, ast.FunctionDef) and m.name in ("__init__", "__post_init__")
    )
    method = next(methods, None)
    if method is not None:
        yield from _of_method(method)
    if method is None or (method.name == "__post_init__" and "super().__post_init__()" in ast.unparse(method)):
        for base in bases(found):
            yield from _of_class(base)


def _of_method(method: ast.FunctionDef) -> Iterator[Guard]:
    changed: frozenset[str] = frozenset()
    for statement in method.body:
        yield from _of_statement(statement, changed, {})
        changed |= _assigned(statement)


def _assigned(statement: ast.stmt) -> set[str]:
    """The names that hold something else than the setting afterwards; `self.steps = steps` changes nothing."""
    names: set[str] = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, value = node.targets[0], node.value
            pairs = [(target, value)]
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                pairs = list(zip(target.elts, value.elts, strict=False))
            kept = {_name(target) for target, value in pairs if _name(target) == _name(value)}
            names |= {_name(part) for part in ast.walk(target)} - kept
        elif isinstance(node, ast.AugAssign | ast.AnnAssign | ast.NamedExpr | ast.For):
            names |= {_name(part) for part in ast.walk(node.target)}
    return names


def _of_statement(statement: ast.stmt, changed: frozenset[str], bound: dict[str, ast.expr]) -> Iterator[Guard]:
    if isinstance(statement, ast.For) and isinstance(statement.iter, ast.Tuple | ast.List):
        targets = statement.target.elts if isinstance(statement.target, ast.Tuple) else [statement.target]
        for row in statement.iter.elts:
            cells = row.elts if isinstance(row, ast.Tuple) else [row]
            if len(cells) == len(targets):
                inner = {_name(target): cell for target, cell in zip(targets, cells, strict=True)}
                for nested in statement.body:
                    yield from _of_statement(nested, changed - set(inner), bound | inner)
    elif isinstance(statement, ast.If) and isinstance(statement.body[0], ast.Raise):
        error = statement.body[0].exc
        if isinstance(error, ast.Call) and dotted(error.func) in ("ValueError", "UserError") and len(error.args) == 1:
            yield Guard(statement.test, error.args[0], changed, bound)
