"""Parts of earlier runs, for a recipe's `{from: RUN}`: an autoencoder, a network to fine-tune, a guide.

The part is built with the settings that the earlier recipe gave it and with what the new data says, then takes every
weight that still has the same shape; a head for another number of classes starts afresh, and that is told.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from genmods import registry, runs
from genmods.errors import UserError
from genmods.networks.base import Network
from genmods.recipe import From, Part, Recipe, RecipeError, build


def inject(facts: dict[str, Any], kind: str, run: str) -> Any:
    """The part of `kind` in the task of the earlier run `run`, with its averaged weights where they fit `facts`."""
    part, weights = _part(kind, run), _weights(kind, run)
    result = build(part, facts)
    if not isinstance(result, nn.Module):
        return result
    own = result.state_dict()
    fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    if not fitting:
        raise UserError(f"{run}: none of its weights fit a {part.entry.name} for this data")
    result.load_state_dict(fitting, strict=False)
    if isinstance(result, Network):
        result.prepare = _fitted_already  # type: ignore[method-assign]
    if fresh := [name for name in own if name not in fitting]:
        print(
            f"{run}: {len(fitting)} tensors taken, {len(fresh)} start afresh: {', '.join(fresh[:4])}", file=sys.stderr
        )
    return result


def _fitted_already(images: Tensor) -> None:
    """What an earlier run fitted to its images, such as a whitening layer, belongs to the weights behind it."""


def self_contained(recipe: Recipe) -> dict[str, Any]:
    """The resolved recipe as plain data in which each `{from: RUN}` is replaced by that part's own settings.

    A checkpoint holds the weights themselves, so it stays usable when the earlier run is gone.
    """
    recipe = copy.deepcopy(recipe)
    recipe.task = _settled(recipe.task)
    for part in parts(recipe.task):
        part.given = {name: _settled(value) for name, value in part.given.items()}
    return recipe.plain()


def continued(recipe: Recipe, state: dict[str, Any]) -> Recipe:
    """The recipe with which the run in the checkpoint `state` goes on: parts `{from: RUN}` of its task are those that
    the checkpoint settled, for the earlier run may be gone by now."""
    run = runs.recipe_of(state, "optimizer")
    for before, now in ((run.task, recipe.task), (run.optimizer, recipe.optimizer)):
        if isinstance(now, Part) and isinstance(before, Part) and now.entry != before.entry:
            kind, old, new = now.kind, before.entry.name, now.entry.name
            raise RecipeError(now.where, now.path, f"the run to go on with has the {kind} {old}, this recipe has {new}")
    if not any(isinstance(part, From) for part in parts(recipe.task)):
        return recipe
    recipe = copy.deepcopy(recipe)
    recipe.task = _resettled(recipe.task, run.task)
    return recipe


def _resettled(now: Any, before: Any) -> Any:
    """`now` with what it takes `from` a run as it stands in `before`."""
    if isinstance(now, From):
        return before
    if isinstance(now, Part) and isinstance(before, Part):
        now.given = {name: _resettled(value, before.given.get(name)) for name, value in now.given.items()}
    if isinstance(now, dict) and isinstance(before, dict):
        return {name: _resettled(value, before.get(name)) for name, value in now.items()}
    if isinstance(now, list) and isinstance(before, list):
        return [_resettled(*pair) for pair in zip(now, before, strict=False)]
    return now


def parts(part: Part | From) -> Iterator[Any]:
    """A part and all parts in its settings, outermost first; those taken `from` a run as such."""
    yield part
    for value in part.given.values() if isinstance(part, Part) else ():
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
        for item in inner:
            if isinstance(item, Part | From):
                yield from parts(item)


def _settled(value: Any) -> Any:
    if isinstance(value, From):
        return _part(value.kind, value.run)
    if isinstance(value, dict):
        return {name: _settled(item) for name, item in value.items()}
    return [_settled(item) for item in value] if isinstance(value, list) else value


def _part(kind: str, run: str) -> Part:
    checkpoint = runs.read(runs.find_checkpoint(run))
    task = runs.recipe_of(checkpoint).task
    assert isinstance(task, Part), "a checkpoint's recipe is self-contained"
    for part in parts(task):
        if part.kind == kind:
            return part
    raise UserError(f"{run}: that run has no {kind}")


def _weights(kind: str, run: str) -> dict[str, Any]:
    module, _, name = registry.KINDS[kind].partition(":")
    base = getattr(__import__(module, fromlist=[name]), name)
    return next((part.state_dict() for part in runs.load(run).modules() if isinstance(part, base)), {})
