"""Checks, without importing them, whether the callbacks of a recipe fit its task.

A callback names, in its class variable `requires`, a member that the task or its model must have, or that is given as a
setting of the callback; and in `excludes` a setting that the model must not have.
"""

from __future__ import annotations

from collections.abc import Iterable

from genmods.config.members import constant, has_member
from genmods.config.parts import From, Part, model_entry
from genmods.config.reflect import find_class
from genmods.config.text import RecipeError
from genmods.core.abilities import requirement


def check_abilities(task: Part | From, callbacks: Iterable[Part | From]) -> None:
    """Raises RecipeError for a callback that cannot be used with the task; a task `{from: RUN}` is not known yet."""
    if not isinstance(task, Part):
        return
    owners = [find_class(entry.target) for entry in (model_entry(task.entry), task.entry) if entry is not None]
    model = task.model or task
    for callback in (each for each in callbacks if isinstance(each, Part)):
        needed, excluded = (constant(find_class(callback.entry.target), name) for name in ("requires", "excludes"))
        if needed and callback.given.get(needed) is None and not any(has_member(owner, needed) for owner in owners):
            raise RecipeError(
                callback.where, callback.path, f"{callback.entry} {requirement(needed)}, got {task.entry}"
            )
        if excluded and model.given.get(excluded) is not None:
            raise RecipeError(
                callback.where, callback.path, f"{callback.entry} cannot be used with task.{excluded}; remove one"
            )
