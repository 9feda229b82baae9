"""Safe evaluation of arithmetic in source text, such as the default `2 * 8` or the bound `len(widths)`."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import Any

MAX_BITS = 1024
"""The bit length of the largest integer allowed as a result."""

_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: dict[type, Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"len": len, "max": max, "min": min, "sum": sum}


class NotComputable(ValueError):
    """The expression is not arithmetic, a name in it has no value, or its result is too large or undefined."""


def compute(expression: ast.expr, value_of: Callable[[str], Any]) -> Any:
    """Evaluates numbers, text, lists, operators, and `len`, `max`, `min`, `sum` of these.

    Args:
        expression: The syntax tree.
        value_of: Returns the value of a name, dotted for an attribute, or raises LookupError.

    Returns:
        The value; integers in it are below 2^`MAX_BITS`.

    Raises:
        NotComputable: For any other syntax, and for a name without a value.
    """
    try:
        return _compute(expression, value_of)
    except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise NotComputable(str(error)) from error


def names(expression: ast.expr) -> set[str]:
    """The names in an expression."""
    return {node.id for node in ast.walk(expression) if isinstance(node, ast.Name) and node.id not in _FUNCTIONS}


def _compute(node: ast.expr, value_of: Callable[[str], Any]) -> Any:
    match node:
        case ast.Constant(value):
            return _bounded(value)
        case ast.Name() | ast.Attribute():
            return _bounded(value_of(ast.unparse(node)))
        case ast.Tuple(elts):
            return tuple(_compute(item, value_of) for item in elts)
        case ast.List(elts):
            return [_compute(item, value_of) for item in elts]
        case ast.Dict(keys, values) if None not in keys:
            return {
                _compute(key, value_of): _compute(value, value_of)  # type: ignore[arg-type]
                for key, value in zip(keys, values, strict=True)
            }
        case ast.UnaryOp(op, operand) if type(op) in _UNARY:
            return _UNARY[type(op)](_number(_compute(operand, value_of)))
        case ast.BinOp(left, op, right) if type(op) in _BINARY:
            pair = _number(_compute(left, value_of)), _number(_compute(right, value_of))
            if isinstance(op, ast.Pow) and abs(pair[1]) * math.log2(max(abs(pair[0]), 2)) > MAX_BITS:
                raise OverflowError(f"{ast.unparse(node)} is too large")
            return _bounded(_BINARY[type(op)](*pair))
        case ast.Call(ast.Name(function), args, []) if function in _FUNCTIONS:
            return _FUNCTIONS[function](*(_compute(item, value_of) for item in args))
    raise TypeError(f"{ast.unparse(node)} is not arithmetic")


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{type(value).__name__} is not a number")
    return value


def _bounded(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise OverflowError("an integer is too large")
    return value
