"""Recipes: the checked sections of a run, and conversion to and from plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from genmods.config import override, registry
from genmods.config.abilities import check_abilities
from genmods.config.base import read_recipe
from genmods.config.builtins import KINDS, SECTIONS
from genmods.config.check import UNKNOWN, default, fill, named, part, refuse_unknown
from genmods.config.hints import convert, refusal
from genmods.config.parts import FROM_DATA, From, Part, allowed
from genmods.config.registry import Entry
from genmods.config.text import Node, RecipeError, Text, with_marks, write
from genmods.config.variables import expand, keep_values, read_saved
from genmods.core.errors import nearest
from genmods.core.limits import Hint, one_of

MODULE = Entry("module", "the data module", "genmods.data.module:ImageData")
TRAINER = Entry("trainer", "the trainer", "lightning.pytorch.trainer.trainer:Trainer")
NOT_SET_HERE = {
    "logger": "it is a separate section",
    "callbacks": "it is a separate section",
    "default_root_dir": "it is the run folder",
    "inference_mode": "it is off, since likelihoods and guidance need gradients",
    "plugins": "checkpoints are saved by a plugin of genmods",
    "use_distributed_sampler": "it is off, since the data module distributes the samples",
}
DEFAULTS = {"num_sanity_val_steps": 0, "enable_model_summary": False, "precision": "auto"}
"""Defaults of Trainer settings that differ from Lightning's."""
LONGEST_NAME = 200
"""Maximum length of a recipe's name in bytes."""
PRECISIONS = ("auto", "32", "32-true", "16", "16-mixed", "bf16", "bf16-mixed")
"""Precisions with weights, their averages and images in float32; `auto` is resolved at the start of a run."""


class Recipe:
    """A checked recipe. `source` is its file, `name` its name, by default that of the file.

    `task`, `data`, `optimizer` and `trainer` are parts to build; `schedule` is a part or None; `logger` and `callbacks`
    are lists of parts. `data` builds the data module, whose first argument is the source.
    """

    def __init__(self, root: Node, source: str, name: str):
        self.source = source
        sections = _sections(root, source)
        self.name = _scalar(sections, "name", str, name)
        if fault := _fault_of_name(self.name):
            where = sections["name"].where if "name" in sections else source
            raise RecipeError(where, "name", f"names a folder under runs: {fault}, got '{self.name}'")
        self.seed = int(_scalar(sections, "seed", int, 0))
        if not 0 <= self.seed < 2**32:
            raise refusal(sections["seed"], "seed", "an int from 0 to 2**32 - 1")
        task = _required(sections, "task", source)
        keep_values(task)
        self.task = part("task", task, "task")
        self.data = _data(_required(sections, "data", source), self.seed)
        self.optimizer = part(
            "optimizer",
            sections.get("optimizer", with_marks({}, source)),
            "optimizer",
            standard=with_marks({"name": "adamw"}, source),
        )
        schedule = sections.get("schedule", Node(None, source))
        self.schedule = None if schedule.value is None else part("schedule", schedule, "schedule")
        self.trainer = _trainer(sections.get("trainer", with_marks({}, source)))
        _check_warmup(self.schedule, self.trainer)
        self.logger = _several("logger", sections.get("logger", Node(None, source)), "logger")
        self.callbacks = _several("callback", sections.get("callbacks", Node(None, source)), "callbacks")
        _refuse_twice(self.callbacks)
        check_abilities(self.task, self.callbacks)

    def plain(self, facts: dict[str, Any] | None = None) -> dict[str, Any]:
        """The resolved recipe with all settings as plain data; settings left to the data are filled with `facts`."""
        facts = facts or {}
        module = _shown(self.data, {})
        source = _shown(self.data.given["source"], {}) if "source" in self.data.given else {}
        return {
            "name": _shown(self.name, {}),
            "seed": self.seed,
            "task": _shown(self.task, facts),
            "data": {**source, **{key: value for key, value in module.items() if key not in source}},
            "optimizer": _shown(self.optimizer, facts),
            "schedule": _shown(self.schedule, facts),
            "trainer": _shown(self.trainer, facts),
            "logger": _shown(self.logger, facts),
            "callbacks": _shown(self.callbacks, facts),
        }

    def to_yaml(self, facts: dict[str, Any] | None = None) -> str:
        """The resolved recipe as YAML; loading and writing it again returns the same text."""
        return write(self.plain(facts))


def _fault_of_name(name: str) -> str:
    """The reason why a folder of runs cannot have this name; empty if it can."""
    if not 1 <= len(name.encode(errors="surrogatepass")) <= LONGEST_NAME:
        return f"must have 1 to {LONGEST_NAME} bytes"
    if name in (".", "..") or name.strip() != name or not name.isprintable() or set(name) & set("/\\<>"):
        return "must be printable, without / \\ < > and without space at its ends"
    return ""


def _sections(root: Node, source: str) -> dict[str, Node]:
    if not isinstance(root.value, dict):
        raise RecipeError(root.where, "", "a recipe is a block of sections: task, data, trainer, ...")
    for key, node in root.value.items():
        if key not in SECTIONS:
            raise RecipeError(node.where, key, f"a recipe has no section '{key}'{nearest(key, SECTIONS)}")
    return root.value


def _required(sections: dict[str, Node], name: str, source: str) -> Node:
    if name not in sections:
        raise RecipeError(source, name, "the section is missing")
    return sections[name]


def _scalar(sections: dict[str, Node], name: str, kind: type, standard: Any) -> Any:
    node = sections.get(name)
    if node is None:
        return standard
    return convert((Hint(kind),), node, name, part)


def _data(node: Node, seed: int) -> Part:
    """The data module of the section: a registered one, or `ImageData` with a source.

    The section of a source is flat; settings that both have are passed to both.
    """
    name = node.value.get("name") if isinstance(node.value, dict) else node
    if name is not None and name.value in registry.names("data_module"):
        entry, given = named("data_module", node, "data")
        whole = fill(entry, given, node.where, "data")
        whole.given["seed"] = seed
        return whole
    entry, given = named("data", node, "data")
    own, shared = allowed(entry), allowed(MODULE)
    refuse_unknown(entry, given, "data", {**own, **shared})
    source = fill(entry, {key: item for key, item in given.items() if key in own}, node.where, "data")
    module = fill(MODULE, {key: item for key, item in given.items() if key in shared}, node.where, "data")
    module.given |= {"source": source, "seed": seed}
    return module


def _trainer(node: Node) -> Part:
    given = {} if node.value is None else node.value
    if not isinstance(given, dict):
        raise refusal(node, "trainer", "a block of settings of Lightning's Trainer")
    for key, item in given.items():
        if key in NOT_SET_HERE:
            raise RecipeError(item.where, f"trainer.{key}", f"cannot be set: {NOT_SET_HERE[key]}")
    given = {**with_marks(DEFAULTS, node.where).value, **given}
    precision = given.pop("precision")
    if str(precision.value) not in PRECISIONS:
        raise refusal(precision, "trainer.precision", one_of(PRECISIONS))
    result = fill(TRAINER, given, node.where, "trainer")
    result.given["precision"] = str(precision.value)
    return result


def _check_warmup(schedule: Part | From | None, trainer: Part) -> None:
    """Raise RecipeError if the warm-up is longer than the run."""
    steps, trial = trainer.given.get("max_steps") or -1, trainer.given.get("fast_dev_run")
    warmup = schedule.given.get("warmup") if isinstance(schedule, Part) else None
    if isinstance(warmup, int | float) and 0 < steps < warmup and not trial:
        assert isinstance(schedule, Part)
        message = f"must be at most trainer.max_steps, {steps}, got {warmup:g}; below 1 it is a fraction of them"
        raise RecipeError(schedule.where, f"{schedule.path}.warmup", message)


def _several(kind: str, node: Node, path: str) -> list[Part | From]:
    if node.value is None:
        return []
    items = node.value if isinstance(node.value, list) else [node]
    return [part(kind, item, f"{path}[{i}]" if item is not node else path) for i, item in enumerate(items)]


def _refuse_twice(callbacks: list[Part | From]) -> None:
    seen: set[str] = set()
    for callback in (one for one in callbacks if isinstance(one, Part)):
        if callback.entry.name in seen:
            raise RecipeError(callback.where, callback.path, f"the callback {callback.entry.name} is listed twice")
        seen.add(callback.entry.name)


def _shown(value: Any, facts: dict[str, Any]) -> Any:
    """Plain data of a checked value; a part with all settings whose defaults can be represented."""
    if isinstance(value, From):
        return {"from": _shown(value.run, facts), **_shown(value.given, facts)}
    if isinstance(value, list | tuple):
        return [_shown(item, facts) for item in value]
    if isinstance(value, dict):
        return {key: _shown(item, facts) for key, item in value.items()}
    if isinstance(value, Text):
        return value.written
    if not isinstance(value, Part):
        return value
    result = {"name": value.entry.name} if value.kind in KINDS else {}
    facts = value.facts or facts
    model = value.given.get("model")
    if value.model:
        result |= _shown(value.model, facts)
    elif isinstance(model, From) and model.entry:
        result |= {"from": _shown(model.run, facts), **_shown(model.given, facts)}
    left = value.open()
    for name, setting in value.settings().items():
        if name in value.given:
            result[name] = _shown(value.given[name], facts)
        elif name in left:
            result[name] = facts.get(name, FROM_DATA)
        elif (standard := default(setting)) is not UNKNOWN:
            result[name] = _shown(standard, facts)
    return result


def load(source: str | Path, overrides: Iterable[str] = (), settings: Mapping[str, Any] | None = None) -> Recipe:
    """The checked recipe of a file, merged with its base, or of a shipped recipe's bare name.

    Environment variables are expanded. `--key=value` overrides and nested `settings` of its sections, such as
    `{"trainer": {...}}`, change it. Raises RecipeError with file, line and key path.
    """
    from genmods.config.shipped import locate

    path, name = locate(source)
    root = read_recipe(path, allowed(MODULE))
    return _recipe(root, str(path), name, overrides, settings)


def from_plain(
    data: Mapping[str, Any],
    overrides: Iterable[str] = (),
    source: str = "checkpoint",
    settings: Mapping[str, Any] | None = None,
    saved: bool = True,
) -> Recipe:
    """The recipe of plain data (that of `Recipe.plain`); otherwise as `load`.

    Args:
        data: The sections.
        overrides: Changes to its settings, each `--key=value`.
        source: Where they are from, for messages.
        settings: Nested settings that replace theirs.
        saved: Whether they are from a checkpoint or a run folder, whose environment variables are not expanded.
    """
    root = with_marks(dict(data), source)
    if saved:
        read_saved(root)
    return _recipe(root, source, source, overrides, settings)


def _recipe(root: Node, source: str, name: str, overrides: Iterable[str], settings: Mapping[str, Any] | None) -> Recipe:
    changes = [*override.of_arguments(list(overrides)), *override.of_settings(settings or {}, "settings")]
    override.apply(root, changes, kept=allowed(MODULE))
    expand(root)  # after the changes: what they replace is not read
    return Recipe(root, source, name)
