"""Whether the parts of a recipe can be constructed together, found out without data, weights or a trainer.

What no hint declares, such as a sampler that does not take a process, is refused by constructors. Networks are
constructed on the meta device. A task names in its class variable `checks` a function of its parts and settings that
raises ValueError if they do not fit together. Settings that the data fill are those of two stand-ins, a small and a
large data set; a refusal counts if it is the same for both, since it does then not depend on the data.

Lightning is not imported: the constructors of tasks, callbacks, loggers and data modules are not called, but those of
their parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from inspect import signature
from typing import Any

from genmods.config.build import build
from genmods.config.members import constant
from genmods.config.parts import From, Part
from genmods.config.recipe import MODULE, Recipe
from genmods.config.reflect import find_class
from genmods.config.text import RecipeError
from genmods.core.initial_weights import without_weights
from genmods.core.label_kinds import LabelKind
from genmods.core.meta import on_meta
from genmods.data.info import DataInfo

_STEPS = 1_000_000
"""Steps of a recipe that sets none: no warm-up is longer."""
_FOR_LIGHTNING = ("task", "data_module", "module", "callback", "logger")


def rehearse(recipe: Recipe, kinds: Sequence[LabelKind]) -> None:
    """Raises RecipeError, as `fit` would, if parts of a recipe cannot be constructed whatever the data are.

    Args:
        recipe: A checked recipe.
        kinds: The kinds of labels that its data may have.
    """
    if recipe.data.entry == MODULE:
        for part in (*_constructible(recipe.data), *_constructible(recipe.task)):
            refusals = [_refusal(part, kind) for kind in kinds]
            if refusals[0] and all(refusals):
                raise refusals[0]
        unfit = [_unfit(recipe.task, kind) for kind in kinds]
        if unfit[0] and all(unfit):
            raise unfit[0]
        _refuse_frozen(recipe.task, kinds[0])
    _rehearse_optimizer(recipe)


def _stand_ins(kind: LabelKind) -> Iterator[DataInfo]:
    for shape, count, levels in (((1, 32, 32), 10, 17), ((3, 256, 256), 4, 256)):
        names = [] if kind == "none" else [str(k) for k in range(count)]
        n = len(names)
        yield DataInfo(shape, n, (0.1,), (0.5,), levels, names, kind, [9] * n, [0.0] * n, [1.0] * n)


def _refusal(part: Part, kind: LabelKind) -> RecipeError | None:
    """The RecipeError of a part whose constructors refuse both data sets in the same words."""
    found: list[RecipeError] = []
    for info in _stand_ins(kind):
        try:
            with on_meta(), without_weights():
                build(part, info.settings())
        except RecipeError as error:
            found.append(error)
    same = len({str(error) for error in found}) == 1
    return found[0] if len(found) == 2 and same and isinstance(found[0].__cause__, ValueError) else None


def _unfit(task: Part | From, kind: LabelKind) -> RecipeError | None:
    """The RecipeError of a task whose `checks` refuses its parts and settings for both data sets in the same words, or
    for the one with which the parts can be constructed."""
    target = constant(find_class(task.entry.target), "checks") if isinstance(task, Part) else None
    if not isinstance(task, Part) or target is None:
        return None
    module, _, name = target.partition(":")
    check = getattr(import_module(module), name)
    given = {key: value for key, value in task.given.items() if key in signature(check).parameters}
    if any(map(_has_from, given.values())):
        return None
    found: set[str] = set()
    for info in _stand_ins(kind):
        try:
            with on_meta(), without_weights():
                check(**{key: _built(value, info) for key, value in given.items()})
            return None
        except RecipeError:
            continue
        except ValueError as error:
            found.add(str(error))
    return RecipeError(task.where, task.path, found.pop()) if len(found) == 1 else None


def _built(value: Any, info: DataInfo) -> Any:
    return build(value, info.settings()) if isinstance(value, Part) else value


def _refuse_frozen(task: Part | From, kind: LabelKind) -> None:
    """Raises RecipeError if `freeze` leaves nothing to train in a task of this package: its parts have all weights."""
    freezing = [part for part in _inside(task) if part.given.get("freeze")]
    if not freezing or _has_from(task) or not isinstance(task, Part) or task.entry.origin != "genmods":
        return
    from torch import nn

    try:
        with on_meta(), without_weights():
            built = [build(part, next(_stand_ins(kind)).settings()) for part in _constructible(task)]
    except RecipeError:  # that depends on the data
        return
    modules = [module for module in built if isinstance(module, nn.Module)]
    if not any(parameter.requires_grad for module in modules for parameter in module.parameters()):
        raise RecipeError(freezing[0].where, f"{freezing[0].path}.freeze", "must leave something to train")


def _inside(value: Any) -> Iterator[Part]:
    """All parts in a checked value."""
    if isinstance(value, Part):
        yield value
    for item in _inner(value):
        yield from _inside(item)


def _constructible(value: Any) -> Iterator[Part]:
    """The outermost parts in a checked value that can be constructed here."""
    if isinstance(value, Part) and value.kind not in _FOR_LIGHTNING and not _has_from(value):
        yield value
    elif isinstance(value, Part | dict | list | tuple):
        for item in _inner(value):
            yield from _constructible(item)


def _has_from(value: Any) -> bool:
    """Whether a part, or one inside, is that of an earlier run."""
    return isinstance(value, From) or any(map(_has_from, _inner(value)))


def _inner(value: Any) -> list[Any]:
    value = value.given if isinstance(value, Part) else value
    return [*value.values()] if isinstance(value, dict) else [*value] if isinstance(value, list | tuple) else []


def _rehearse_optimizer(recipe: Recipe) -> None:
    """Raises RecipeError if the optimizer or the schedule cannot be constructed, for a small network."""
    from torch import nn

    from genmods.optim.groups import parameter_groups

    part, trainer = recipe.optimizer, recipe.trainer.given
    steps = -1 if trainer.get("fast_dev_run") else trainer.get("max_steps") or -1
    try:
        optimizer = build(part)(parameter_groups(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))))
        if recipe.schedule:
            part = recipe.schedule
            build(part)(optimizer, steps if steps > 0 else _STEPS)
    except RecipeError:
        raise
    except (ValueError, RuntimeError, TypeError) as error:
        raise RecipeError(part.where, part.path, " ".join(str(error).split())) from error
