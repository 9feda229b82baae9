"""Declared settings: the words of a refusal, bounds that ask for other settings, inheritance, copies."""

from __future__ import annotations

import ast
import copy
import inspect
import math
import pickle
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Interval, Le, Len, Lt, MinLen, MultipleOf

from genmods.core.expressions import NotComputable, compute
from genmods.core.limits import Length, Odd, Remainder, is_from_data
from genmods.core.settings import Count, Fraction, FromData, Validated, read


class Part(Validated):
    """One setting of each form."""

    def __init__(
        self,
        width: Annotated[int, Ge(2), MultipleOf("heads")] = 8,
        heads: Count = 4,
        widths: Annotated[tuple[Count, ...], MinLen(1)] = (1, 2),
        blocks: Annotated[list[int] | None, Length("len(widths)")] = None,
        share: Fraction | None = None,
        low: Annotated[float, Lt("high")] = 0.0,
        high: Annotated[float, Le(math.inf)] = 1.0,
        kernel: Annotated[int, Odd] = 3,
        depth: Annotated[int, Remainder(6, 4)] = 16,
        mode: Literal["a", "b", 3] = "a",
        pair: tuple[int, Annotated[float, Interval(gt=0, le=2)]] = (1, 1.0),
        names: dict[str, Annotated[int, Ge(1)]] = {},  # noqa: B006
        levels: Annotated[list[int], Len(0, 2)] = [],  # noqa: B006
        text: str = "",
        other: Any = None,
    ) -> None:
        self.width = width


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"width": 1}, "width must be at least 2, got 1"),
        ({"width": 6}, "width must be a multiple of heads = 4, got 6"),
        ({"width": "8"}, "width must be an int, got '8'"),
        ({"width": 8.0}, "width must be an int, got 8.0"),
        ({"width": True}, "width must be an int, got True"),
        ({"heads": 10**6}, "heads must be at most 10000, got 1000000"),
        ({"heads": 10**5000}, "heads must be at most 10000, got a huge int"),
        ({"widths": ()}, "widths must be of at least 1 item, got ()"),
        ({"widths": [1, 0]}, "widths[1] must be at least 1, got 0"),
        ({"widths": [1, 10**30]}, f"widths[1] must be at most 10000, got {10**30}"),
        ({"blocks": [1]}, "blocks must be of len(widths) = 2 items, got [1]"),
        ({"share": 1.5}, "share must be at most 1, got 1.5"),
        ({"share": math.nan}, "share must be a number, got nan"),
        ({"share": math.inf}, "share must be finite, got inf"),
        ({"share": "half"}, "share must be a number or None, got 'half'"),
        ({"low": 1.0}, "low must be less than high = 1.0, got 1.0"),
        ({"high": math.nan}, "high must be a number, got nan"),
        ({"kernel": 4}, "kernel must be odd, got 4"),
        ({"depth": 17}, "depth must be 4 more than a multiple of 6, got 17"),
        ({"mode": "c"}, "mode must be 'a', 'b' or 3, got 'c'"),
        ({"pair": (1, 0.0)}, "pair[1] must be above 0, got 0.0"),
        ({"pair": (1,)}, "pair must be of 2 items, got (1,)"),
        ({"names": {"x": 0}}, "names.x must be at least 1, got 0"),
        ({"levels": [1, 2, 3]}, "levels must be of at most 2 items, got [1, 2, 3]"),
    ],
)
def test_a_value_out_of_range_is_one_line(settings, line):
    with pytest.raises(ValueError) as error:
        Part(**settings)
    assert str(error.value) == line


@pytest.mark.parametrize(
    "settings",
    [
        {"width": 12, "heads": 3},
        {"blocks": [1, 2]},
        {"share": 1},
        {"high": math.inf},
        {"low": -math.pi},
        {"mode": 3},
        {"pair": [7, 2.0]},
        {"text": 3, "other": object()},
    ],
)
def test_what_the_hints_take_is_taken(settings):
    Part(**settings)


def test_positions_count_as_names_do():
    with pytest.raises(ValueError, match="width must be a multiple of heads = 5, got 8"):
        Part(8, 5)
    with pytest.raises(TypeError, match="unexpected keyword"):
        Part(wide=1)


class Child(Part):
    """One more setting; the others are inherited."""

    def __init__(self, more: Annotated[float, Gt("share")] = 2.0, **settings: Any) -> None:
        super().__init__(heads=2, **settings)


@dataclass
class Base(Validated):
    """A field, under a limit."""

    steps: Annotated[int, Ge(1)] = 3


@dataclass(frozen=True)
class Frozen(Validated):
    """Frozen, with a field that another class has, too."""

    steps: Annotated[int, Ge("least")] = 3
    least: int = 2


@dataclass
class Derived(Base):
    """Narrows the inherited field."""

    steps: Annotated[int, Ge(2)] = 4
    order: Literal[2, 3] = 2


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: Child(share=1.5), "share must be at most 1, got 1.5"),
        (lambda: Child(more=0.5, share=0.5), "more must be above share = 0.5, got 0.5"),
        (lambda: Child(math.nan), "more must be a number, got nan"),
        (lambda: Base(0), "steps must be at least 1, got 0"),
        (lambda: Derived(1), "steps must be at least 2, got 1"),
        (lambda: Derived(order=4), "order must be 2 or 3, got 4"),
        (lambda: Frozen(1), "steps must be at least least = 2, got 1"),
    ],
)
def test_a_subclass_inherits_settings_and_limits(make, line):
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value) == line


class Parent(Validated):
    """Takes one argument by position alone."""

    def __init__(self, size: Count, /, width: Count = 2, share: Fraction = 0.5) -> None:
        self.area = size * width


class Sized(Parent):
    """Passes that argument."""

    def __init__(self, side: Count = 4, **settings: Any) -> None:
        super().__init__(side**2, **settings)


def test_the_signature_has_the_inherited_settings():
    parameters = inspect.signature(Sized).parameters
    assert [*parameters] == ["side", "width", "share"] and parameters["share"].kind is inspect.Parameter.KEYWORD_ONLY
    assert Sized(3, width=2).area == 18 and not hasattr(Sized(), "__signature__")
    with pytest.raises(ValueError, match="share must be at most 1, got 2"):
        Sized(share=2)


def test_parts_are_copied_and_pickled():
    part = Child(more=3.0, width=4)
    for other in (copy.copy(part), copy.deepcopy(part), pickle.loads(pickle.dumps(part))):
        assert other.width == 4
    assert pickle.loads(pickle.dumps(Frozen(7))) == copy.deepcopy(Frozen(7)) == Frozen(7)


def test_the_mark_of_the_data_is_found_in_any_alternative():
    assert is_from_data(read(Annotated[int, Ge(1), FromData])) and is_from_data(read(Annotated[int, FromData] | None))
    assert not is_from_data(read(Annotated[int, Ge(1)]))


@pytest.mark.parametrize(
    ("text", "value"),
    [("2 * 8", 16), ("-3.5", -3.5), ("2 ** 10", 1024), ("len(a) - 1", 2), ("max(a) // 2", 4), ("(1, [2])", (1, [2]))],
)
def test_arithmetic(text, value):
    assert compute(ast.parse(text, mode="eval").body, {"a": [9, 1, 2]}.__getitem__) == value


@pytest.mark.parametrize(
    "text",
    [
        *("9 ** 9 ** 9", "2 ** -(10 ** 9)", "10 ** 200 * 10 ** 200", "'a' * 10 ** 9", "[0] * 9", "1 << 9", "1 / 0"),
        *("b", "open('x')", "a.__class__", "[x for x in a]", "len(3)", "1.5 ** 10 ** 9", "True + 1", "9" * 400),
    ],
)
def test_unbounded_or_other_expressions_are_not_computed(text):
    with pytest.raises(NotComputable):
        compute(ast.parse(text, mode="eval").body, {"a": [1]}.__getitem__)
