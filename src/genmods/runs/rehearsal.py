"""Whether a recipe can be built, found out without data, weights or a trainer.

What no hint declares, such as a sampler that does not take a process, is refused by constructors. They are called as
`fit` calls them, with networks on the meta device and with the facts of stand-ins for the data, of which they must take
one. Loggers are not constructed.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from genmods.callbacks.requirement import Requiring
from genmods.config.build import build
from genmods.config.members import constant
from genmods.config.parts import From, Part
from genmods.config.recipe import MODULE, Recipe
from genmods.config.reflect import find_class
from genmods.config.text import RecipeError
from genmods.core.errors import UserError
from genmods.core.initial_weights import without_weights
from genmods.core.label_kinds import LabelKind
from genmods.core.meta import on_meta
from genmods.core.printable import counted
from genmods.data.info import DataInfo
from genmods.diffusion.conditioning import ClassLabels
from genmods.models import model_of
from genmods.runs.folders import load

_STEPS = 1_000_000
"""Steps of a recipe that sets none: no warm-up is longer."""
_SHAPES = ((1, 32, 32), (3, 256, 256), (2, 28, 28), (3, 48, 48), (4, 40, 40))
_CLASSES = (10, 4, 1, 2, 7)
_MOST = 12
"""The number of different numbers in a recipe that stand-ins take from it."""
_NOT_HERE = ("data_module", "module", "logger")
"""Kinds that are not constructed: their constructors read data or connect to a server."""


def rehearse(recipe: Recipe, kinds: Sequence[LabelKind]) -> None:
    """Raises RecipeError, as `fit` would, if the recipe cannot be built whatever the data are.

    Args:
        recipe: A checked recipe.
        kinds: The kinds of labels that its data may have.
    """
    if recipe.data.entry == MODULE:
        stand_ins = list(_stand_ins(recipe, kinds))
        built = {id(part): _rehearsed(part, stand_ins) for part in _constructible([recipe.data, recipe.task])}
        task = built.get(id(recipe.task))
        for part in _constructible(recipe.callbacks):
            callback = _rehearsed(part, stand_ins)
            if task is not None and isinstance(callback, Requiring):
                _require(callback, task, part)
        if task is not None:
            _refuse_frozen(recipe.task, task)
            _refuse_mixed(recipe, task, built.values())
        elif isinstance(recipe.task, Part):
            _check_settings(recipe.task, stand_ins[0])
    _rehearse_optimizer(recipe)


def _stand_ins(recipe: Recipe, kinds: Sequence[LabelKind]) -> Iterator[DataInfo]:
    """Data sets of several shapes and numbers of classes, among them those that occur as numbers in the recipe."""
    numbers = list(dict.fromkeys(_numbers([recipe.data, recipe.task])))[:_MOST]
    shapes = [*_SHAPES, *((n, 32, 32) for n in numbers if n <= 64), *((3, n, n) for n in numbers if n <= 512)]
    shapes += [(3, 16 * n, 16 * n) for n in numbers if n <= 32]
    cases = list(zip(_SHAPES, _CLASSES, strict=True))
    cases += [(shape, 4) for shape in shapes] + [((3, 64, 64), n) for n in numbers]
    for shape, count in dict.fromkeys(cases):
        for kind in kinds:
            names = [] if kind == "none" else [str(k) for k in range(count)]
            n, levels = len(names), 17 if shape[0] == 1 else 256
            yield DataInfo(shape, n, (0.1,), (0.5,), levels, names, kind, [9] * n, [0.0] * n, [1.0] * n)


def _numbers(value: Any) -> Iterator[int]:
    """The positive integers and the lengths of lists among the settings in a checked value."""
    number = len(value) if isinstance(value, list | tuple) else value
    if type(number) is int and 0 < number <= 4096:
        yield number
    for item in _inner(value):
        yield from _numbers(item)


def _rehearsed(part: Part, stand_ins: Sequence[DataInfo]) -> Any:
    """The object of a part for the first stand-in that it takes; None after an error other than a refusal.

    Raises RecipeError if it takes none: the refusal by the line of code that refuses most of them.
    """
    refusals: dict[tuple[str, int | None], list[tuple[RecipeError, DataInfo]]] = {}
    for info in stand_ins:
        try:
            with on_meta(), without_weights():
                return build(part, info.settings())
        except RecipeError as error:
            if not isinstance(error.__cause__, ValueError | UserError):
                return None
            refusals.setdefault(_place(error.__cause__), []).append((error, info))
    found = max(refusals.values(), key=len)
    first, info = found[0]
    if len({str(error) for error, _ in found}) == 1:
        raise first
    shape, classes = "x".join(map(str, info.shape)), len(info.class_names)
    raise RecipeError("", "", f"{first}, for example for images of {shape} and {counted(classes, 'class')}")


def _check_settings(task: Part, info: DataInfo) -> None:
    """Raises RecipeError if the function in `checks` of a task of an earlier run's model refuses its settings.

    The model is passed to it if the run is on this machine.
    """
    module, _, name = (constant(find_class(task.entry.target), "checks") or "").partition(":")
    if not name:
        return
    check = getattr(import_module(module), name)
    given = {key: value for key, value in task.given.items() if key in signature(check).parameters}
    try:
        check(**{key: _setting(value, info) for key, value in given.items()})
    except ValueError as error:
        raise RecipeError(task.where, task.path, str(error)) from error


def _setting(value: Any, info: DataInfo) -> Any:
    """The setting that a constructor receives; None for the model of a run that is not on this machine."""
    if isinstance(value, From):
        return load(value.run) if Path(value.run).exists() else None
    return build(value, info.settings()) if isinstance(value, Part) else value


def _place(error: BaseException) -> tuple[str, int | None]:
    """The file and the line of the constructor that raised it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return last.filename, last.lineno


def _require(callback: Requiring, task: Any, part: Part) -> None:
    try:
        callback.require(task)
    except UserError as error:
        raise RecipeError(part.where, part.path, str(error)) from error


def _refuse_frozen(part: Part | From, task: Any) -> None:
    """Raises RecipeError if `freeze` leaves nothing to train."""
    freezing = [inner for inner in _inside(part) if inner.given.get("freeze")]
    if freezing and not any(parameter.requires_grad for parameter in task.parameters()):
        raise RecipeError(freezing[0].where, f"{freezing[0].path}.freeze", "must leave something to train")


def _refuse_mixed(recipe: Recipe, task: Any, built: Iterable[Any]) -> None:
    """Raises RecipeError if a model is conditioned on the class of images that an augmentation mixes."""
    mixing = next((one for one in built if getattr(one, "mixes", False)), None)
    if mixing is not None and isinstance(getattr(model_of(task), "conditioning", None), ClassLabels):
        raise RecipeError(
            recipe.task.where, "task", f"class_labels needs one class per image, {type(mixing).__name__} mixes several"
        )


def _inside(value: Any) -> Iterator[Part]:
    """All parts in a checked value."""
    if isinstance(value, Part):
        yield value
    for item in _inner(value):
        yield from _inside(item)


def _constructible(value: Any) -> Iterator[Part]:
    """The outermost parts in a checked value that can be constructed here."""
    if isinstance(value, Part) and value.kind not in _NOT_HERE and not _has_from(value):
        yield value
    else:
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
