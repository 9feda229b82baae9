"""Sweep files, in the format of W&B: a recipe, and the values of its settings over which a grid or random numbers run.

program: genmods
command: [python, -m, genmods, fit, --config, recipes/cnn.yaml, "${args}"]
method: grid
metric: {name: val/acc, goal: maximize}
parameters:
  optimizer.lr: {values: [1e-3, 3e-3]}
  seed: {values: [1, 2, 3]}
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genmods.config.recipe import Recipe, load
from genmods.config.text import Node, RecipeError, plain, read
from genmods.core.errors import nearest

Trial = dict[str, Any]
"""The settings of one run by key path."""
_IGNORED = ("program", "description", "project", "entity", "early_terminate")
_KEYS = ("command", "method", "metric", "parameters", "run_cap", "name", *_IGNORED)
_ARGUMENTS = "${args}"


@dataclass(frozen=True)
class Sweep:
    """A sweep.

    Args:
        source: Its file, for messages.
        name: The beginning of the names of its runs.
        recipe: The recipe that is varied: a file or the name of a shipped one.
        overrides: The options `--key=value` of all runs.
        method: "grid" or "random".
        parameters: The definition of each varied setting by key path.
        metric: The metric by which runs are sorted; None: the validation loss.
        minimize: Whether a lower metric is better.
        limit: The largest number of runs; None for all of a grid.
    """

    source: str
    name: str
    recipe: str
    overrides: list[str]
    method: str
    parameters: dict[str, Node]
    metric: str = "val/loss"
    minimize: bool = True
    limit: int | None = None

    def trials(self, count: int | None = None, seed: int = 0) -> list[Trial]:
        """The settings of each run, at most `count`; random ones depend only on `seed`, their number and the names.

        Raises:
            RecipeError: If the number of random runs is unknown, or a definition does not fit the method.
        """
        limits = [limit for limit in (count, self.limit) if limit is not None]
        if self.method == "grid":
            values = [_values(node, key) for key, node in self.parameters.items()]
            every = [dict(zip(self.parameters, row, strict=True)) for row in itertools.product(*values)]
            return every[: min(limits, default=len(every))]
        if not limits:
            raise RecipeError(self.source, "run_cap", "is missing; random runs need their number")
        return [
            {key: _drawn(node, key, random.Random(f"{seed} {number} {key}")) for key, node in self.parameters.items()}
            for number in range(min(limits))
        ]

    def recipe_of(self, trial: Trial) -> Recipe:
        """The checked recipe of a run, whose name is that of the sweep with a hash of the settings.

        Raises:
            RecipeError: If a setting is unknown or refused.
        """
        text = json.dumps([self.recipe, self.overrides, trial], sort_keys=True)
        name = f"{self.name}-{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}"
        try:
            return load(self.recipe, self.overrides, {**trial, "name": name})
        except RecipeError as error:
            message = str(error).removeprefix("settings: ")
            for key, node in self.parameters.items():
                if message.startswith(f"{key}: "):
                    raise RecipeError(node.where, "", message) from error
            raise


def read_sweep(path: Path) -> Sweep:
    """The sweep of a file; raises RecipeError with file, line and key for anything that is not supported locally."""
    root = read(path)
    if not isinstance(root.value, dict):
        raise RecipeError(root.where, "", "a sweep is a block with method, parameters and command")
    for key, node in root.value.items():
        if key not in _KEYS:
            raise RecipeError(node.where, key, f"a sweep has no key '{key}'{nearest(key, _KEYS)}")
    for key in ("command", "method", "parameters"):
        if key not in root.value:
            raise RecipeError(root.where, key, "is missing")
    method = root.value["method"]
    if method.value not in ("grid", "random"):
        message = "must be grid or random; others, such as bayes, need `wandb sweep`"
        raise RecipeError(method.where, "method", f"{message}, got {method.value!r}")
    recipe, overrides = _command(root.value["command"])
    metric, minimize = _metric(root.value.get("metric"))
    cap = root.value.get("run_cap")
    if cap is not None and (type(cap.value) is not int or cap.value < 1):
        raise RecipeError(cap.where, "run_cap", f"must be at least 1, got {cap.value!r}")
    parameters = dict(_flat(root.value["parameters"], "parameters", ""))
    name = root.value.get("name")
    title = str(name.value) if name else path.stem
    limit = cap.value if cap else None
    return Sweep(str(path), title, recipe, overrides, str(method.value), parameters, metric, minimize, limit)


def _command(node: Node) -> tuple[str, list[str]]:
    """The recipe and the other options of the command `genmods fit`."""
    words = [str(word) for word in plain(node)] if isinstance(node.value, list) else []
    if "fit" not in words or _ARGUMENTS not in words:
        raise RecipeError(
            node.where, "command", f"must be a list: `genmods fit`, its option with the recipe, and {_ARGUMENTS}"
        )
    options = [word for word in words[words.index("fit") + 1 :] if word != _ARGUMENTS]
    pairs = iter(options)
    recipe, overrides = None, []
    for word in pairs:
        if word == "--config":
            recipe = next(pairs, None)
        elif word.startswith("--config="):
            recipe = word.partition("=")[2]
        else:
            overrides.append(word)
    if recipe is None:
        raise RecipeError(node.where, "command", "has no recipe, the option config of `fit`")
    return recipe, overrides


def _metric(node: Node | None) -> tuple[str, bool]:
    if node is None:
        return "val/loss", True
    metric = plain(node)
    if not isinstance(metric, dict) or not isinstance(metric.get("name"), str):
        raise RecipeError(node.where, "metric", "must be a block with name and goal")
    if metric.get("goal", "minimize") not in ("minimize", "maximize"):
        raise RecipeError(node.where, "metric.goal", f"must be minimize or maximize, got {metric['goal']!r}")
    return metric["name"], metric.get("goal", "minimize") == "minimize"


def _flat(node: Node, path: str, prefix: str) -> list[tuple[str, Node]]:
    """The definitions by key path; a block `parameters` inside of another one is nested."""
    if not isinstance(node.value, dict) or not node.value:
        raise RecipeError(node.where, path, "must be a block of settings")
    found: list[tuple[str, Node]] = []
    for key, item in node.value.items():
        below = f"{path}.{key}"
        if not isinstance(item.value, dict):
            raise RecipeError(item.where, below, "must be a block with value, values, or min and max")
        if "parameters" in item.value:
            found += _flat(item.value["parameters"], f"{below}.parameters", f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", item))
    return found


def _values(node: Node, key: str) -> list[Any]:
    """All values of a setting in a grid."""
    found = plain(node)
    if "value" in found:
        return [found["value"]]
    if isinstance(found.get("values"), list) and found["values"]:
        return found["values"]
    low, high = found.get("min"), found.get("max")
    if _distribution(found) == "int_uniform" and type(low) is int and type(high) is int:
        return list(range(low, high + 1))
    raise RecipeError(node.where, f"parameters.{key}", "a grid requires values, or whole numbers min and max")


def _distribution(found: dict[str, Any]) -> str:
    if "distribution" in found:
        return str(found["distribution"])
    if "value" in found or "values" in found:
        return "constant" if "value" in found else "categorical"
    return "int_uniform" if type(found.get("min")) is int and type(found.get("max")) is int else "uniform"


_DRAWS: dict[str, Callable[[dict[str, Any], random.Random], Any]] = {
    "constant": lambda given, source: given["value"],
    "categorical": lambda given, source: source.choices(given["values"], given.get("probabilities"))[0],
    "int_uniform": lambda given, source: source.randint(given["min"], given["max"]),
    "uniform": lambda given, source: source.uniform(given["min"], given["max"]),
    "q_uniform": lambda given, source: _rounded(source.uniform(given["min"], given["max"]), given),
    "log_uniform": lambda given, source: math.exp(source.uniform(given["min"], given["max"])),
    "log_uniform_values": lambda given, source: math.exp(source.uniform(*map(math.log, (given["min"], given["max"])))),
    "normal": lambda given, source: source.gauss(given.get("mu", 0.0), given.get("sigma", 1.0)),
    "log_normal": lambda given, source: math.exp(source.gauss(given.get("mu", 0.0), given.get("sigma", 1.0))),
}


def _rounded(value: float, given: dict[str, Any]) -> float:
    step = given.get("q", 1)
    return round(value / step) * step


def _drawn(node: Node, key: str, source: random.Random) -> Any:
    """A random value of a setting."""
    found, path = plain(node), f"parameters.{key}"
    name = _distribution(found)
    if name not in _DRAWS:
        raise RecipeError(node.where, f"{path}.distribution", f"no distribution '{name}'{nearest(name, _DRAWS)}")
    try:
        return _DRAWS[name](found, source)
    except KeyError as error:
        raise RecipeError(node.where, path, f"the distribution {name} requires {error.args[0]}") from None
    except (TypeError, ValueError, ZeroDivisionError, OverflowError, IndexError) as error:
        raise RecipeError(node.where, path, f"the distribution {name} refuses its numbers: {error}") from None
