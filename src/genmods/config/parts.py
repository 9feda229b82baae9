"""Parts of a recipe, checked or taken from an earlier run, and the settings that a recipe can set for a class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from genmods.config import foreign, hints
from genmods.config.builtins import COMMON, KINDS
from genmods.config.reflect import Setting, dotted, inherits, lookup, settings
from genmods.config.registry import Entry
from genmods.core.limits import is_from_data

FROM_DATA = "from data"
"""The value, in a resolved recipe, of a setting that is filled from the data."""
PROVIDED = {
    "task": ("plan",),
    "optimizer": ("params",),
    "schedule": ("optimizer", "total_steps"),
    "module": ("source", "seed"),
    "data_module": ("seed",),
    "trainer": ("logger", "callbacks", "default_root_dir", "inference_mode", "plugins", "use_distributed_sampler"),
}
"""Parameters filled by the task, the recipe or the command, by kind; a recipe cannot set them."""
MODEL = "genmods.models.base:Model"
PARTIAL_KINDS = ("optimizer", "schedule")
"""Kinds whose parts are built by the task, from `functools.partial`."""


@dataclass(slots=True)
class From:
    """`{from: RUN}`: the part of this kind that an earlier run trained.

    In `{name: TASK, from: RUN}` it is the model of that task, of the class `entry`, with the settings `given` instead
    of those of the run. A network may have the settings that all networks have, such as `freeze`.
    """

    kind: str
    run: str
    where: str
    path: str
    entry: Entry | None = None
    given: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Part:
    """A checked part: the class to build, and the value of each setting that is given or has a part as its default.

    `load`, if set, loads the weights of an earlier run into the built object; `facts` are those of the data of that
    run, if the part is reused unchanged.
    """

    entry: Entry
    where: str
    path: str
    given: dict[str, Any]
    load: Callable[[Any], None] | None = None
    facts: dict[str, Any] | None = None

    @property
    def model(self) -> Part | None:
        """The model of a task; None for a task that is its own model."""
        part = self.given.get("model")
        return part if isinstance(part, Part) and part.kind == "model" else None

    @property
    def kind(self) -> str:
        """The registry's kind of the class."""
        return self.entry.kind

    def open(self) -> list[str]:
        """The settings that are left to the data."""
        known = self.settings().items()
        return [name for name, setting in known if name not in self.given and is_from_data(hints.of(setting))]

    def settings(self) -> dict[str, Setting]:
        """The settings of the class, without those that the task fills and without `name`, the name of the part."""
        hidden = (*PROVIDED.get(self.kind, ()), "name", *(("model",) if model_entry(self.entry) else ()))
        known = foreign.declared(self.entry.target, settings(self.entry.target))
        return {name: setting for name, setting in (known | self.common()).items() if name not in hidden}

    def common(self) -> dict[str, Setting]:
        """The settings that all parts of the kind have and the class does not declare."""
        own = settings(self.entry.target)
        return {name: setting for name, setting in common(self.kind).items() if name not in own}


def common(kind: str) -> dict[str, Setting]:
    """The settings that all parts of a kind have in a recipe."""
    return settings(COMMON[kind]) if kind in COMMON else {}


def of_training(kind: str) -> dict[str, Setting]:
    """The common settings allowed for a part taken `from` a run: all but its weights."""
    return {name: setting for name, setting in common(kind).items() if name != "weights"}


def allowed(entry: Entry) -> dict[str, Setting]:
    """The settings of an entry that a recipe can set, for a task including those of its model."""
    model = model_entry(entry)
    return {**(allowed(model) if model else {}), **Part(entry, "", "", {}).settings()}


@cache
def model_entry(entry: Entry) -> Entry | None:
    """The model class of a task, the type of its parameter `model`; None for a task that is its own model."""
    setting = settings(entry.target).get("model") if entry.kind == "task" else None
    if setting is None or setting.hint is None:
        return None
    found = lookup(setting.module, dotted(setting.hint))
    if found is None or not found.target or found.target in KINDS.values() or not inherits(found, MODEL):
        return None
    return Entry("model", str(entry), found.target, entry.origin)
