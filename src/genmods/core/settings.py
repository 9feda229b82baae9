"""Declared settings: the type hints of a constructor define its valid arguments, and `Validated` refuses all others.

    class Mine(Network):
        def __init__(
            self,
            width: Annotated[int, Ge(2), MultipleOf("heads")] = 32,
            heads: Annotated[int, Ge(1)] = 4,
            in_channels: Annotated[int, Ge(1), FromData] = 1,
        ): ...

The limits are those of the package annotated-types and of `genmods.core.limits`. Limits of a list enclose its hint,
limits of its items are inside. A bound in quotes is arithmetic with other settings. `FromData` marks a setting that is
filled from the data unless a recipe sets it. Numbers must be finite unless the hint has `Le(math.inf)`.

`genmods.config` reads the same hints from source text, to check and show recipes without importing anything.
"""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from keyword import iskeyword
from typing import Annotated, Any, Literal, Self, Union

from annotated_types import Ge, Gt, Le, Lt, MultipleOf

from genmods.core.limits import ANY, Form, FromData, Hint, Hints, first_fault, limited
from genmods.core.memory import SIZE

Fraction = Annotated[float, Ge(0), Le(1)]
Rate = Annotated[float, Ge(0), Lt(1)]
"""A fraction that is dropped, held out or kept, below 1."""
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Seed = Annotated[int, Ge(-(2**63)), Lt(2**63)]
Steps = Annotated[int, Ge(1), Le(1_000_000)]
BatchSize = Annotated[int, Ge(1), Le(1_000_000)]
AutoBatchSize = BatchSize | Literal["auto"]
"""A number, or "auto": what fits into memory, found by `fit` before its first step; elsewhere 128."""
Depth = Annotated[int, Ge(1), Le(1000)]
"""Number of layers or blocks."""
Count = Annotated[int, Ge(1), Le(10_000)]
"""Number of heads, shown images, ..."""
Channels = Annotated[int, Ge(1), Le(16_384)]
EvenChannels = Annotated[int, Ge(2), Le(16_384), MultipleOf(2)]
DataChannels = Annotated[Channels, FromData]
SigmaData = Annotated[float, Gt(0), FromData]
"""Root mean square of the data."""
DataMean = Annotated[float | tuple[float, ...], FromData]
"""Mean of the pixels, one value for all channels or one per channel."""
DataStd = Annotated[Positive | tuple[Positive, ...], FromData]
"""Standard deviation of the pixels, likewise."""
GrayLevels = Annotated[int, Ge(2), Le(65_536), FromData]
"""Number of grey levels of the data."""
ClassNames = Annotated[list[str], FromData]
Bytes = Annotated[str, Form(SIZE, "a number of bytes such as 256MiB")]
Pixels = Annotated[int, Ge(1), Le(16_384)]
"""The side of an image."""
DataSize = Annotated[Pixels, FromData]
"""The side of the images of the data, for parts that support squares only."""
DataSides = Annotated[Pixels | tuple[Pixels, Pixels], FromData]
"""The side of the images of the data, or their height and width."""
DataClasses = Annotated[int, Ge(0), Le(1_000_000), FromData]
"""Number of classes of the data; 0 for none."""
TwoTimes = Annotated[bool, FromData]
"""Whether a network receives the log-SNR at the end of a step; filled by models that require it."""
Guided = Annotated[bool, FromData]
"""Whether a network receives the scale of guidance; filled by models that require it."""
CondSize = Annotated[int, Ge(0), Le(16_384)]
"""Number of channels or numbers of a condition; 0 for none."""
Classes = Annotated[int, Ge(1), Le(1_000_000), FromData]
"""Number of classes of the data, at least 1."""


class _Signature:
    """The signature of a class with all settings; those passed as `**settings` are keyword-only."""

    def __get__(self, instance: object, cls: type) -> inspect.Signature:
        if instance is not None:
            raise AttributeError("__signature__")
        own, found = None, dict[str, inspect.Parameter]()
        for signature, parameter, _ in _parameters(cls):
            own = own or signature
            kind = parameter.kind if signature is own else parameter.KEYWORD_ONLY
            found.setdefault(parameter.name, parameter.replace(kind=kind))
        return inspect.Signature([*found.values()])


class Validated:
    """Base of classes whose constructor accepts exactly what its type hints declare.

    The constructor raises ValueError, with one line such as `width must be at least 2, got 1`, for other arguments.
    With `**settings`, passed to `super().__init__(..., **settings)`, it inherits the settings of the base class except
    positional-only ones.
    """

    __signature__ = _Signature()

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        check(cls, args, kwargs)
        return super().__new__(cls)


def check(cls: type, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Raises ValueError, in one line, if arguments of a constructor do not satisfy its hints."""
    first, defaults, hints = _declared(cls)
    try:
        given = first.bind_partial(None, *args, **kwargs).arguments if first else {}
    except TypeError:
        return  # Python raises a TypeError
    for name, parameter in first.parameters.items() if first else ():
        if parameter.kind is parameter.VAR_KEYWORD:
            given |= given.pop(name, {})
    if found := first_fault({**defaults, **given}, hints):
        raise ValueError(found[1])


def hints_of(cls: type) -> Mapping[str, Hints]:
    """The alternatives of each setting of a constructor."""
    return {setting_name(name): hints for name, hints in _declared(cls)[2].items()}


def setting_name(parameter: str) -> str:
    """The name in a recipe of the parameter of a constructor: `from_` is `from`, a keyword of Python."""
    return parameter[:-1] if parameter.endswith("_") and iskeyword(parameter[:-1]) else parameter


def parameter_name(setting: str) -> str:
    """The inverse of `setting_name`."""
    return f"{setting}_" if iskeyword(setting) else setting


@cache
def _declared(cls: type) -> tuple[inspect.Signature | None, dict[str, Any], dict[str, Hints]]:
    """The signature of a constructor, and the defaults and hints of all settings, including inherited ones."""
    first, defaults, hints = None, {}, {}
    for signature, parameter, scope in _parameters(cls):
        first = first or signature
        if parameter.name in hints:
            continue
        hints[parameter.name] = read(_evaluated(parameter.annotation, scope))
        if parameter.default is not parameter.empty:
            defaults[parameter.name] = parameter.default
    return first, {name: value for name, value in defaults.items() if not _is_factory(value)}, hints


def _is_factory(value: Any) -> bool:
    return type(value).__name__ == "_HAS_DEFAULT_FACTORY_CLASS"


def _parameters(cls: type) -> Iterator[tuple[inspect.Signature, inspect.Parameter, dict[str, Any]]]:
    """Each setting, with its signature and the names in scope for its hint."""
    hidden: list[object] = [inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD]
    for base in cls.__mro__:
        init = vars(base).get("__init__")
        if init is None:
            continue
        if not isinstance(init, types.FunctionType):
            return
        signature = inspect.signature(init)
        kinds = [parameter.kind for parameter in signature.parameters.values()]
        for parameter in [*signature.parameters.values()][1:]:
            if parameter.kind not in hidden:
                yield signature, parameter, _scope(base, init, parameter.name)
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            return
        hidden.append(inspect.Parameter.POSITIONAL_ONLY)  # of parents: passed by the subclass


def _scope(base: type, init: Callable[..., Any], name: str) -> dict[str, Any]:
    """The names in scope for a hint: for a dataclass those of the class that defines the field."""
    if "__dataclass_fields__" in vars(base):
        for owner in base.__mro__:
            if name in vars(owner).get("__annotations__", {}):
                return vars(sys.modules[owner.__module__]) if owner.__module__ in sys.modules else {}
    return inspect.unwrap(init).__globals__


def _evaluated(annotation: Any, scope: dict[str, Any]) -> Any:
    """The hint of an annotation; Any if it has a name that only type checkers know."""
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, scope)
    except NameError:
        return Any


def read(hint: Any) -> Hints:
    """The alternatives of a type hint."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is None or hint is type(None):
        return (Hint("null"),)
    if hint in (int, float, bool, str):
        return (Hint(hint),)
    if origin is Annotated:
        return limited(read(args[0]), args[1:])
    if origin in (Union, types.UnionType):
        return tuple(found for arg in args for found in read(arg))
    if origin is Literal:
        return (Hint("choice", args),)
    if origin is tuple:
        variadic = args[-1:] == (Ellipsis,)
        return (Hint("tuple..." if variadic else "tuple", tuple(map(read, args[:1] if variadic else args))),)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return (Hint("dict", (read(args[-1]),)),)
    if isinstance(origin, type) and issubclass(origin, Iterable) and args:
        return (Hint("list", (read(args[0]),)),)
    return ANY
