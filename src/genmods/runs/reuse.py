"""Parts of earlier runs, for a recipe's `{from: RUN}`: an autoencoder, a network to fine-tune, a guide.

The part is built with the settings that the earlier recipe gave it and with what the new data says, then takes every
weight that still has the same shape; a head for another number of classes starts afresh, and that is told.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor, nn

from genmods.config import registry
from genmods.config.build import build
from genmods.config.builtins import imported
from genmods.config.check import From, Part
from genmods.config.recipe import Recipe
from genmods.config.text import RecipeError
from genmods.core.errors import UserError
from genmods.networks.base import Network
from genmods.runs import folders


def inject(facts: dict[str, Any], slot: From) -> Any:
    """The part of an earlier run that belongs in `slot`, with its averaged weights where they fit `facts`."""
    checkpoint = folders.read(folders.find_checkpoint(slot.run))
    part = _part(checkpoint, slot)
    result = build(part, facts)
    if not isinstance(result, nn.Module):
        return result
    own, weights = result.state_dict(), _weights(checkpoint, slot)
    fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    if not fitting:
        raise UserError(f"{slot.run}: none of its weights fit a {part.entry.name} for this data")
    result.load_state_dict(fitting, strict=False)
    if isinstance(result, Network):
        result.prepare = _fitted_already  # type: ignore[method-assign]
    if fresh := [name for name in own if name not in fitting]:
        told = f"{len(fitting)} tensors taken, {len(fresh)} start afresh: {', '.join(fresh[:4])}"
        rank_zero_only(print)(f"{slot.run}: {told}", file=sys.stderr)
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
    the checkpoint settled, for the earlier run may be gone by now.

    Raises RecipeError or UserError where its task or optimizer is another one, or its end lies behind the run.
    """
    if -1 < (end := recipe.trainer.given.get("max_steps") or -1) < state["global_step"]:
        raise UserError(f"trainer.max_steps is {end}, and the run to go on with is at step {state['global_step']}")
    run = folders.recipe_of(state, "optimizer")
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
        return _part(folders.read(folders.find_checkpoint(value.run)), value)
    if isinstance(value, dict):
        return {name: _settled(item) for name, item in value.items()}
    return [_settled(item) for item in value] if isinstance(value, list) else value


def _part(checkpoint: dict[str, Any], slot: From) -> Part:
    """The part of the checkpoint's task that has the kind of `slot` and, where there is one, its name."""
    task = folders.recipe_of(checkpoint).task
    assert isinstance(task, Part), "a checkpoint's recipe is self-contained"
    alike = [(part.path, part) for part in parts(task) if part.kind == slot.kind]
    if not alike:
        raise UserError(f"{slot.run}: that run has no {slot.kind}")
    return _namesake(alike, slot)


def _weights(checkpoint: dict[str, Any], slot: From) -> dict[str, Any]:
    """The weights of that part."""
    base = imported(registry.KINDS[slot.kind])
    alike = [(name, part) for name, part in folders.restore(checkpoint).named_modules() if isinstance(part, base)]
    return _namesake(alike, slot).state_dict() if alike else {}


def _namesake(alike: list[tuple[str, Any]], slot: From) -> Any:
    """Of named things the one with the last name of `slot`, else the first."""
    name = slot.path.rpartition(".")[2]
    return next((thing for path, thing in alike if path.rpartition(".")[2] == name), alike[0][1])
