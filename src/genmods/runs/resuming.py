"""Checks of a resumed run: settings that would change the meaning of the weights are refused, others are reported."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from genmods.config.parts import Part
from genmods.config.recipe import Recipe
from genmods.config.text import RecipeError
from genmods.core.printable import say
from genmods.report.folder import flatten
from genmods.report.sidecars import read_sidecars
from genmods.runs.checkpoint import Checkpoint
from genmods.runs.reuse import parts
from genmods.tracking.environment import describe

_MEANING = ("network", "process", "prediction", "conditioning", "discriminator")
"""Kinds of parts of a task that determine the meaning of its weights."""
_SECTIONS = ("task", "data", "optimizer", "schedule", "trainer", "callbacks", "seed")
_OF_NO_EFFECT = ("trainer.max_steps", "trainer.max_epochs", "trainer.max_time", "trainer.enable_progress_bar")
_MOST = 8


def check_meaning(resolved: Recipe, before: Checkpoint) -> None:
    """Raises RecipeError if a part of the task that determines the meaning of the weights has been replaced."""
    old = {part.path: part for part in parts(before.parsed().task) if isinstance(part, Part)}
    for new in parts(resolved.task):
        was = old.get(new.path)
        if isinstance(new, Part) and was and new.kind in _MEANING and new.entry.name != was.entry.name:
            raise RecipeError(
                new.where,
                new.path,
                f"cannot resume: the checkpoint has the {new.kind} {was.entry.name}, not {new.entry.name}",
            )


def report_differences(resolved: Recipe, before: Checkpoint, folder: Path, precision: str) -> None:
    """Prints one line on stderr with the settings and properties of the machine that have changed."""
    old, new = _flat(before.recipe), _flat(resolved.plain())
    found = [(key, old.get(key, "none"), new.get(key, "none")) for key in dict.fromkeys([*old, *new])]
    found.append(("precision", str(before.precision), precision))
    then, now = (_machine(environment) for environment in (read_sidecars(folder).get("environment"), describe()))
    found += [(key, then[key], now[key]) for key in now if key in then]
    changed = [f"{key} {was} -> {now}" for key, was, now in found if was != now]
    if changed:
        more = f" and {len(changed) - _MOST} more" if len(changed) > _MOST else ""
        say(f"resumed with other settings: {', '.join(changed[:_MOST])}{more}", file=sys.stderr)


def _flat(recipe: dict[str, Any]) -> dict[str, str]:
    sections = {name: recipe.get(name) for name in _SECTIONS}
    callbacks = sections["callbacks"] if isinstance(sections["callbacks"], list) else []
    named = {str(one.get("name")): one for one in callbacks if isinstance(one, dict)}
    flat = flatten({**sections, "callbacks": named or None})
    return {key: value for key, value in flat.items() if key not in _OF_NO_EFFECT}


def _machine(environment: dict[str, Any] | None) -> dict[str, str]:
    """The properties that determine rounding: torch, its threads, the devices."""
    hardware, packages = ((environment or {}).get(name) for name in ("hardware", "packages"))
    found: dict[str, str] = {}
    if isinstance(hardware, dict):
        found |= {name: str(hardware[name]) for name in ("threads", "devices") if name in hardware}
    if isinstance(packages, dict) and "torch" in packages:
        found["torch"] = str(packages["torch"])
    return found
