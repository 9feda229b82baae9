"""Limits of settings, declared as items of `Annotated`, and the messages for values that violate them.

A hint is a flat list of alternatives, each with its limits. `genmods.core.settings` reads it from a class,
`genmods.config.hints` from source text.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from numbers import Integral, Real
from typing import Any, NamedTuple

from annotated_types import Ge, GroupedMetadata, Gt, Le, Lt, MaxLen, MinLen, MultipleOf

from genmods.core.expressions import NotComputable, compute, names
from genmods.core.printable import counted


class FromData:
    """Marks a setting that is filled from the data, by its name in `DataInfo.settings`, unless a recipe sets it."""


@dataclass(frozen=True)
class Remainder:
    """A limit: the remainder of the value divided by `divisor` is `rest`."""

    divisor: int
    rest: int


@dataclass(frozen=True)
class Length:
    """A limit: the value has `items` items, given as a number or as arithmetic with settings:
    `Length("len(widths)")`."""

    items: int | str


@dataclass(frozen=True)
class Form:
    """A limit: the text matches the regular expression `pattern`, described by `words`."""

    pattern: str
    words: str


Odd = Remainder(2, 1)
"""A limit: the value is odd."""


class Hint(NamedTuple):
    """One alternative of a type hint.

    Attributes:
        form: A Python type, "null", "any", "choice", "list", "tuple", "tuple..." (of any length), "dict" or "part".
        items: Choices; the alternatives of each item; the kind of a part.
        limits: The limits of the value, and `FromData`.
    """

    form: Any
    items: tuple[Any, ...] = ()
    limits: tuple[Any, ...] = ()


Hints = tuple[Hint, ...]
ANY = (Hint("any"),)
_TYPES = {int: "an int", float: "a number"}


def limited(hints: Hints, limits: Iterable[Any]) -> Hints:
    """Alternatives with further limits, which do not apply to null."""
    flat = tuple(one for limit in limits for one in (limit if isinstance(limit, GroupedMetadata) else (limit,)))
    return tuple(hint if hint.form == "null" else hint._replace(limits=hint.limits + flat) for hint in hints)


def is_from_data(hints: Hints) -> bool:
    """Whether a setting with these alternatives is filled from the data."""
    return any(FromData in hint.limits for hint in hints)


def words(limit: Any, bound: Any = None) -> str:
    """The requirement of a limit, such as `at least 2`; "" for a marker. `bound` replaces the bound of the limit."""
    bound = bound_of(limit) if bound is None else bound
    match limit:
        case Ge():
            return f"at least {bound}"
        case Gt():
            return f"above {bound}"
        case Le():
            return f"at most {bound}"
        case Lt():
            return f"less than {bound}"
        case MultipleOf():
            return f"a multiple of {bound}"
        case Remainder(2, 1):
            return "odd"
        case Remainder(divisor, rest):
            return f"{rest} more than a multiple of {divisor}"
        case MinLen() | MaxLen() | Length():
            end = "at least " if isinstance(limit, MinLen) else "at most " if isinstance(limit, MaxLen) else ""
            return f"of {end}{bound} item{'s' * (str(bound).split()[-1] != '1')}"  # `len(widths) = 1`, too
        case Form(_, text):
            return text
    return ""


def first_fault(values: Mapping[str, Any], hints: Mapping[str, Hints]) -> tuple[str, str] | None:
    """The first invalid setting and its message; limits between settings are checked last."""
    for others in ({}, values):
        for name, alternatives in hints.items():
            if name in values and (answer := fault(name, values[name], alternatives, others)):
                return name, answer
    return None


def fault(name: str, value: Any, hints: Hints, settings: Mapping[str, Any]) -> str | None:
    """The message for an invalid value, such as `width must be at least 2, got 1`; None if an alternative accepts it.

    Args:
        name: The name of the value in the message.
        value: The value.
        hints: The alternatives.
        settings: The values of the other settings; limits that refer to a missing one are not checked.
    """
    refused = []
    for hint in hints:
        answer = _fault(name, value, hint, settings)
        if answer is None:
            return None
        refused.append(answer)
    messages = [answer for answer in refused if answer]
    if messages or not refused:
        return messages[0] if messages else None
    return f"{name} must be {' or '.join(dict.fromkeys(_kind(hint) for hint in hints))}, got {shown(value)}"


def _kind(hint: Hint) -> str:
    if hint.form == "choice":
        return one_of(hint.items)
    return _TYPES.get(hint.form) or {"null": "None", "tuple...": "a list", "tuple": "a list"}.get(
        hint.form, f"a {getattr(hint.form, '__name__', hint.form)}"
    )


def _fault(name: str, value: Any, hint: Hint, settings: Mapping[str, Any]) -> str | None:
    """Like `fault` for one alternative; "" for a value of another type."""
    form = hint.form
    if form in (int, float):
        if isinstance(value, bool) or not isinstance(value, Integral if form is int else Real):
            return ""
        infinite = not isinstance(value, Integral) and not math.isfinite(value)
        if infinite and (value != value or Le(math.inf) not in hint.limits):
            return f"{name} must be {'finite' if value == value else 'a number'}, got {value}"
    elif form == "choice":
        return None if any(value == item and type(value) is type(item) for item in hint.items) else ""
    elif form == "null":
        return None if value is None else ""
    elif form in ("list", "tuple", "tuple...", "dict"):
        if value is None or isinstance(value, Real | str):
            return ""
        if answer := _fault_of_items(name, value, hint, settings):
            return answer
    elif value is None and form != "any":
        return ""
    return next((answer for limit in hint.limits if (answer := _exceeded(name, value, limit, settings))), None)


def _fault_of_items(name: str, value: Any, hint: Hint, settings: Mapping[str, Any]) -> str | None:
    if hint.form == "dict":
        pairs = value.items() if isinstance(value, Mapping) else ()
        answers = (fault(f"{name}.{key}", item, hint.items[0], settings) for key, item in pairs)
    elif isinstance(value, list | tuple):
        if hint.form == "tuple" and len(value) != len(hint.items):
            return f"{name} must be of {counted(len(hint.items), 'item')}, got {shown(value)}"
        inner = hint.items if hint.form == "tuple" else hint.items * len(value)
        answers = (fault(f"{name}[{i}]", *pair, settings) for i, pair in enumerate(zip(value, inner, strict=True)))
    else:
        return None
    return next((answer for answer in answers if answer), None)


def _exceeded(name: str, value: Any, limit: Any, settings: Mapping[str, Any]) -> str | None:
    bound = text = bound_of(limit)
    try:
        if isinstance(bound, str):
            bound = compute(parsed(bound), settings.__getitem__)
            text = f"{text} = {bound}"
        if _keeps(value, limit, bound):
            return None
    except (NotComputable, TypeError, ZeroDivisionError):
        return None
    return f"{name} must be {words(limit, text)}, got {shown(value)}"


def bound_of(limit: Any) -> Any:
    """The bound of a limit: a number, or arithmetic with other settings as text."""
    match limit:
        case (
            Ge(bound)
            | Gt(bound)
            | Le(bound)
            | Lt(bound)
            | MultipleOf(bound)
            | MinLen(bound)
            | MaxLen(bound)
            | Length(bound)
        ):
            return bound
    return None


def _keeps(value: Any, limit: Any, bound: Any) -> bool:
    match limit:
        case Ge():
            return value >= bound
        case Gt():
            return value > bound
        case Le():
            return value <= bound
        case Lt():
            return value < bound
        case MultipleOf():
            return value % bound == 0
        case Remainder(divisor, rest):
            return value % divisor == rest
        case MinLen():
            return len(value) >= bound
        case MaxLen():
            return len(value) <= bound
        case Length():
            return len(value) == bound
        case Form(pattern):
            return re.fullmatch(pattern, value) is not None
    return True


@cache
def parsed(bound: str) -> ast.expr:
    """The syntax tree of a bound in quotes. Raises NotComputable."""
    try:
        return ast.parse(bound, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NotComputable(str(error)) from error


def asks_for(hints: Hints) -> set[str]:
    """The other settings that the limits of these alternatives refer to."""
    found: set[str] = set()
    for hint in hints:
        for bound in filter(lambda bound: isinstance(bound, str), map(bound_of, hint.limits)):
            try:
                found |= names(parsed(bound))
            except NotComputable:
                continue
        if hint.form in ("list", "tuple", "tuple...", "dict"):
            found.update(*map(asks_for, hint.items))
    return found


def one_of(choices: Iterable[Any]) -> str:
    """Choices in words: `'a', 'b' or 'c'`."""
    *first, last = map(repr, choices)
    return f"{', '.join(first)} or {last}" if first else last


def shown(value: Any) -> str:
    """A value as shown in messages."""
    try:
        text = repr(value) if isinstance(value, str | list | tuple | dict) else str(value)
    except ValueError:  # an int of thousands of digits
        return "a huge int"
    return text if len(text) <= 80 else f"{text[:77]}..."
