"""Runs that differ in their seed only: the mean and the standard deviation of their figures."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from genmods.report.folder import RunFolder

_SUFFIX = re.compile(r"-seed[0-9]+$")


@dataclass(frozen=True)
class Spread:
    """The values of one figure, one per seed, at least two."""

    name: str
    values: tuple[float, ...]

    def __str__(self) -> str:
        mean = sum(self.values) / len(self.values)
        squares = [(value - mean) * (value - mean) for value in self.values]  # ** raises for huge values
        return f"{mean:.4g} ± {math.sqrt(sum(squares) / (len(squares) - 1)):.2g}"


@dataclass(frozen=True)
class Seeds:
    """Runs of one recipe with different seeds, the newest of each seed, all of as many steps, sorted by seed."""

    runs: tuple[RunFolder, ...]

    @property
    def name(self) -> str:
        """The name of the recipe."""
        return _SUFFIX.sub("", self.runs[0].settings.get("name", ""))

    @property
    def seeds(self) -> list[str]:
        """Their seeds."""
        return [run.settings["seed"] for run in self.runs]

    def spreads(self, which: str = "last") -> list[Spread]:
        """The main metrics that all runs have, their `last` or their `best` values."""
        figures = [{figure["name"]: figure[which] for figure in run.figures()} for run in self.runs]
        shared = [name for name in figures[0] if all(name in found for found in figures)]
        return [Spread(name, tuple(found[name] for found in figures)) for name in shared]


def by_seed(runs: list[RunFolder]) -> list[Seeds]:
    """The groups of at least two among `runs`, given oldest first.

    Of several runs of one seed the newest counts, and those that took fewer steps than others of their group are left
    out.
    """
    groups: dict[tuple[tuple[str, str], ...], dict[str, RunFolder]] = {}
    for run in runs:
        settings = dict(run.settings)
        seed = settings.pop("seed", "")
        if re.fullmatch("[0-9]{1,10}", seed):
            settings["name"] = _SUFFIX.sub("", settings.get("name", ""))
            groups.setdefault(tuple(sorted(settings.items())), {})[seed] = run
    found = []
    for group in groups.values():
        most = max(run.steps for run in group.values())
        complete = {seed: run for seed, run in group.items() if run.steps == most}
        if len(complete) > 1:
            found.append(Seeds(tuple(complete[seed] for seed in sorted(complete, key=int))))
    return found
