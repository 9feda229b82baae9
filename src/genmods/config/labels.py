"""Checks, without importing them, whether a recipe's task supports the labels of its data.

A task declares the supported kinds in its class variable `label_kinds`. A source declares its kind in the property
`kind_of_labels`, if that returns a constant, or names a function of its settings in `kind_of_labels_from`. Otherwise,
as for a data module of another package, the check is done when a run starts.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from genmods.config.check import default
from genmods.config.members import constant
from genmods.config.parts import Part
from genmods.config.recipe import Recipe
from genmods.config.reflect import find_class
from genmods.config.text import RecipeError
from genmods.core.errors import UserError
from genmods.core.label_kinds import WORDS, LabelKind, refusal

_FROM_COLUMNS: dict[str, tuple[LabelKind, ...]] = {"numbers": ("class",), "multilabel": ("class", "numbers")}
"""The kinds of labels that columns of numbers, and of 0 and 1, can also have."""


def check_labels(recipe: Recipe) -> tuple[LabelKind, ...]:
    """The kinds of labels that the data may have; raises RecipeError if the task cannot be trained on them."""
    task, source, kind = recipe.task, recipe.data.given.get("source"), None
    kinds = constant(find_class(task.entry.target), "label_kinds") if isinstance(task, Part) else ()
    if isinstance(source, Part):
        try:
            kind = _of_source(source)
        except UserError as error:
            raise RecipeError(source.where, "data", *str(error).split("\n  ")) from None
    if kind is None:
        return kinds or tuple(WORDS)
    if isinstance(task, Part):
        refuse(recipe, kinds or (), kind)
    return (kind,)


def refuse(recipe: Recipe, kinds: tuple[Any, ...], kind: Any) -> None:
    """Raises RecipeError if the task of a recipe requires labels of `kinds` and its data has labels of `kind`."""
    task, source = recipe.task, recipe.data.given.get("source")
    if isinstance(task, Part) and (reason := refusal(kinds, kind)):
        is_table = isinstance(source, Part) and "label_kind" in source.settings() and kind in _FROM_COLUMNS
        other = next((wanted for wanted in kinds if is_table and wanted in _FROM_COLUMNS[kind]), None)
        hint = f", or data.label_kind: {other} for these columns" if other else ""
        raise RecipeError(task.where, "task", f"{task.entry} {reason}{hint}")


def _of_source(source: Part) -> Any:
    found = find_class(source.entry.target)
    if target := constant(found, "kind_of_labels_from"):
        module, _, name = target.partition(":")
        given = {name: default(setting) for name, setting in source.settings().items() if setting.default is not None}
        return getattr(import_module(module), name)({**given, **source.given})
    return constant(found, "kind_of_labels")
