"""Builds objects from checked parts: the only module that imports the classes of a recipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from genmods.config import reflect, registry
from genmods.config.builtins import COMMON, imported
from genmods.config.check import fill
from genmods.config.parts import PARTIAL_KINDS, From, Part
from genmods.config.text import RecipeError, Text, with_marks
from genmods.core.errors import StopRequest, UserError
from genmods.core.initial_weights import loads_weights, without_weights
from genmods.core.meta import constructed
from genmods.core.printable import say
from genmods.core.settings import parameter_name


def build(part: Part | From, facts: dict[str, Any] | None = None, **provided: Any) -> Any:
    """Build the object of a part from its settings, `facts` for settings left to the data, and its weights, if any.

    `provided` are arguments that no recipe sets, such as the plan of a task. Optimizers and schedules become
    `functools.partial(cls, **settings)`. Raises RecipeError, with file and line, if the class refuses its settings or
    cannot be imported, if the weights do not fit, and for an unresolved `{from: RUN}`.
    """
    if isinstance(part, From):
        raise RecipeError(part.where, part.path, "{from: RUN} is not supported here")
    if part.load is None:
        return _built(part, facts, provided)
    with without_weights():
        built = _built(part, facts, provided)
    try:
        part.load(built)
    except UserError as error:
        raise RecipeError(part.where, f"{part.path}.from", str(error)) from error
    return built


def _built(part: Part, facts: dict[str, Any] | None, provided: dict[str, Any]) -> Any:
    cls, facts = _resolved(part), part.facts or facts or {}
    if part.kind in ("task", "model"):
        whose = part.model or part
        facts = _resolved(whose).facts_of_parts(facts, whose.given)
    _refuse_variables(part)
    if any(name not in reflect.settings(part.entry.target) for name in provided):
        raise RecipeError(part.where, part.path, f"{cls.__name__} must take **settings and pass them to its parent")
    values = {name: _value(value, facts) for name, value in part.given.items()} | provided | _from_data(part, facts)
    common = {name: values.pop(name) for name in part.common() if name in values}
    make = partial(cls, **{parameter_name(name): value for name, value in values.items()})
    with _refusals(part):
        if part.kind in PARTIAL_KINDS:
            built: Any = make
        else:
            built = constructed(str(part.entry), make) if part.kind == "network" else make()
        if common:
            imported(COMMON[part.kind])(**common).apply(built)
    return built


def _refuse_variables(part: Part) -> None:
    """Raises RecipeError for a setting with an environment variable, which is not read from a checkpoint."""
    for name, value in part.given.items():
        if (text := unresolved(value)) and not (name == "weights" and not loads_weights()):
            message = (
                f"'{text}' is an environment variable, which is not read from a checkpoint; set --{part.path}.{name}"
            )
            raise RecipeError(part.where, f"{part.path}.{name}", message)


def _from_data(part: Part, facts: dict[str, Any]) -> dict[str, Any]:
    """The settings that the recipe leaves to the data. Raises RecipeError for one that neither of them has."""
    known = part.settings()
    for name in part.open():
        if name not in facts and known[name].default is None:
            raise RecipeError(part.where, f"{part.path}.{name}", "cannot be inferred from the data; set it")
    return {name: facts[name] for name in part.open() if name in facts}


@contextmanager
def _refusals(part: Part) -> Iterator[None]:
    """Context of the construction of a part that turns its errors into RecipeErrors."""
    try:
        yield
    except (RecipeError, StopRequest):
        raise
    except (Exception, SystemExit) as error:
        raise RecipeError(part.where, part.path, _message(part, error)) from error
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"during the construction of {part.entry}") from stop


def _message(part: Part, error: BaseException) -> str:
    """The message of a refusal; an unexpected exception is shown with its type and the class."""
    message = " ".join(str(error).split())
    meant = isinstance(error, ValueError | ArithmeticError | RuntimeError | ImportError | OSError)
    if message and meant and not isinstance(error, RecursionError):
        filled = any(message.startswith(f"{name} must be ") for name in part.open())
        return f"{message}, from the data" if filled else message
    return f"{part.entry} cannot be built ({type(error).__name__}{': ' if message else ''}{message})"


def _resolved(part: Part) -> Any:
    """The class of a part; raises RecipeError if it cannot be imported."""
    try:
        return registry.resolve(part.entry)
    except UserError as error:
        raise RecipeError(part.where, part.path, " ".join(str(error).split())) from error


def _value(value: Any, facts: dict[str, Any]) -> Any:
    if isinstance(value, Part | From):
        return build(value, facts)
    if isinstance(value, list | tuple):
        return type(value)(_value(item, facts) for item in value)
    if isinstance(value, dict):
        return {key: _value(item, facts) for key, item in value.items()}
    return str(value) if isinstance(value, Text) else value


def unresolved(value: Any) -> str:
    """The first text with unexpanded environment variables in a value other than a part, or ""."""
    if isinstance(value, Text):
        return value.written if value.unresolved else ""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return next(filter(None, map(unresolved, inner)), "")


def create(kind: str, name: str, **settings: Any) -> Any:
    """A registered part built in Python: `create("network", "unet", width=32)`.

    A setting that is a part accepts an object, a name or a dictionary with `name`. Raises ValueError for an unknown
    kind, name or setting and for a value of the wrong type. What a network loaded from a file of weights is printed on
    stderr.
    """
    entry = registry.find(kind, name)
    where = with_marks(settings, "").value
    made = build(fill(entry, where, "", f"{kind}.{name}"))
    if loaded := getattr(made, "loaded", None):
        say(str(loaded), file=sys.stderr)
    return made
