"""Parts of earlier runs, for `{from: RUN}` in a recipe: an autoencoder, a network to fine-tune, a classifier.

`resolve` replaces each of them by a part with the settings of the earlier recipe. The part is built for the new data
and loads all weights whose shapes agree. A head for another number of classes is newly initialised, which is reported
on stderr. A whole model inside another part (the model of a restoration, the classifier of a metric) is used unchanged,
with the scale and the classes of its training data.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor, nn

from genmods.config import registry
from genmods.config.builtins import KINDS, imported
from genmods.config.parts import From, Part, of_training
from genmods.config.recipe import Recipe
from genmods.config.registry import Entry
from genmods.config.text import RecipeError
from genmods.core.errors import UserError
from genmods.core.printable import say
from genmods.models import model_of
from genmods.networks.base import keep_statistics
from genmods.networks.weights import fit_tensors
from genmods.runs.checkpoint import Checkpoint
from genmods.runs.folders import find_checkpoint

Reader = Callable[[str], "EarlierRun"]


def resolve(recipe: Recipe, before: Checkpoint | None = None) -> Recipe:
    """Replace each `{from: RUN}` of a recipe by a part that can be built; each earlier checkpoint is read once.

    Args:
        recipe: A checked recipe.
        before: The checkpoint from which the run resumes. Its parts replace those of earlier runs, which may no longer
            exist.

    Raises:
        RecipeError: If there is no such run, or no such part in it.
        UserError: If the run cannot be resumed: with another task or optimizer, or past its last step.
    """
    resolved = copy.copy(recipe)
    if before is not None:
        resolved.task = _continued(recipe, before)
    read = cache(lambda run: EarlierRun(run, Checkpoint.read(find_checkpoint(run))))
    resolved.task = _resolved(resolved.task, read)
    resolved.callbacks = [_resolved(callback, read) for callback in recipe.callbacks]
    return resolved


@dataclass(frozen=True)
class EarlierRun:
    """An earlier run with reused parts; its task is built once to determine the names of its weights."""

    name: str
    checkpoint: Checkpoint

    @cached_property
    def _task(self) -> nn.Module:
        return self.checkpoint.task()

    def part(self, slot: From) -> Part:
        """The part of the run's task with the kind of `slot` and, if there are several, its name."""
        if slot.entry:
            return self._model(slot, slot.entry)
        alike = [(part.path, part) for part in parts(self.checkpoint.parsed().task) if part.kind == slot.kind]
        if not alike:
            raise UserError(f"{self.name}: this run has no {slot.kind}")
        found: Part = _namesake(alike, slot)
        whole = slot.kind == "task" and slot.path != "task"
        facts = self.checkpoint.data_info.settings() if whole else None
        given = {name: value for name, value in found.given.items() if name not in of_training(slot.kind)}
        given |= slot.given
        return replace(found, where=slot.where, path=slot.path, given=given, load=self._weights(slot), facts=facts)

    def _model(self, slot: From, entry: Entry) -> Part:
        """The run's model as an instance of the class of `entry`, with the settings of both."""
        task, cls = self.checkpoint.parsed().task, registry.resolve(entry)
        theirs = task.model.given if isinstance(task, Part) and task.model else None
        if theirs is None or not set(theirs) <= set(Part(entry, "", "", {}).settings()):
            raise UserError(f"{self.name}: its model cannot be used as a {cls.__name__}")
        own = getattr(cls, "not_taken", ())
        given = {name: value for name, value in theirs.items() if name not in own} | slot.given
        load = EarlierWeights(self.name, model_of(self._task).state_dict())
        return Part(entry, slot.where, slot.path, given, load)

    def _weights(self, slot: From) -> EarlierWeights | None:
        base = imported(KINDS[slot.kind])
        alike = [(name, module) for name, module in self._task.named_modules() if isinstance(module, base)]
        return EarlierWeights(self.name, _namesake(alike, slot).state_dict()) if alike else None


@dataclass(frozen=True)
class EarlierWeights:
    """Loads the weights of a part of an earlier run into a new part, as far as their shapes agree."""

    run: str
    tensors: dict[str, Tensor]

    def __call__(self, module: nn.Module) -> None:
        """Load the weights; raises UserError if no tensor fits."""
        loaded = fit_tensors(module, self.tensors, self.run)
        keep_statistics(module, loaded.new)
        if loaded.new:
            rank_zero_only(say)(str(loaded), file=sys.stderr)


def _resolved(value: Any, read: Reader) -> Any:
    if isinstance(value, From):
        try:
            return read(value.run).part(value)
        except UserError as error:
            raise RecipeError(value.where, f"{value.path}.from", str(error)) from error
    if isinstance(value, Part):
        return replace(value, given={name: _resolved(item, read) for name, item in value.given.items()})
    if isinstance(value, dict):
        return {name: _resolved(item, read) for name, item in value.items()}
    return type(value)(_resolved(item, read) for item in value) if isinstance(value, list | tuple) else value


def _continued(recipe: Recipe, before: Checkpoint) -> Any:
    """The task of `recipe`, with parts of the checkpoint's task instead of `{from: RUN}`."""
    if -1 < (end := recipe.trainer.given.get("max_steps") or -1) < before.step:
        raise UserError(f"cannot resume: the checkpoint is at step {before.step}, trainer.max_steps is {end}")
    run = before.parsed("optimizer")
    for old, new in ((run.task, recipe.task), (run.optimizer, recipe.optimizer)):
        if isinstance(new, Part) and isinstance(old, Part) and new.entry != old.entry:
            was, now = old.entry.name, new.entry.name
            raise RecipeError(new.where, new.path, f"cannot resume: the checkpoint has the {new.kind} {was}, not {now}")
    return _settled(recipe.task, run.task)


def _settled(now: Any, before: Any) -> Any:
    """`now` with all parts `from` a run replaced by those in `before`."""
    if isinstance(now, From):
        return before
    if isinstance(now, Part) and isinstance(before, Part):
        given = {name: _settled(value, before.given.get(name)) for name, value in now.given.items()}
        return replace(now, given=given)
    if isinstance(now, dict) and isinstance(before, dict):
        return {name: _settled(value, before.get(name)) for name, value in now.items()}
    if isinstance(now, list) and isinstance(before, list):
        return [_settled(*pair) for pair in zip(now, before, strict=False)]
    return now


def parts(part: Part | From) -> Iterator[Any]:
    """A part and all parts in its settings, outermost first, including `From` references."""
    yield part
    for value in part.given.values() if isinstance(part, Part) else ():
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
        for item in inner:
            if isinstance(item, Part | From):
                yield from parts(item)


def _namesake(alike: list[tuple[str, Any]], slot: From) -> Any:
    """The item whose name is the last component of `slot`'s path, otherwise the first."""
    name = slot.path.rpartition(".")[2]
    return next((thing for path, thing in alike if path.rpartition(".")[2] == name), alike[0][1])
