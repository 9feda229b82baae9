"""Recipes that are trained for equal processor time: as many steps as fit into the seconds at a measured pace.

Equal numbers of steps can be set instead. The seconds are those of the training steps; reading the images and
validation come on top. A run that was interrupted is continued, and one that is finished is not repeated.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from recipe_times import measure

from genmods.config.recipe import load
from genmods.runs import folders
from genmods.runs.fit import fit

RECIPES = Path(__file__).parents[1] / "recipes"
EMA_LENGTHS = 12
"""Steps of a training divided by the time constant of the average of its weights, where it is fitted to them."""


@dataclass(frozen=True)
class Budget:
    """Runs below the folder `at`, each of `seconds`, or of `steps` if they are set, with `changes` of the recipes.

    They train on the images in `root`, or, if it is None, on the recipe's.
    """

    at: Path
    root: Path | None
    seconds: float
    changes: tuple[str, ...] = ()
    steps: int | None = None

    @classmethod
    def of(cls, options: argparse.Namespace) -> Budget:
        """That of the options of `add_options`."""
        changes = tuple(f"--{change}" for change in options.set)
        return cls(options.runs.resolve(), options.clothing.resolve(), options.seconds, changes, options.steps)

    def images(self, part: str = ".") -> list[str]:
        """The override of the images, those of a `part` of the folder."""
        return [] if self.root is None else [f"--data.root={self.root / part}"]

    def trained(
        self, name: str, recipe: str, *changes: str, fitted: Callable[[int], Sequence[str]] = lambda steps: ()
    ) -> tuple[Any, dict[str, Any]]:
        """The model of the run `name`, and its steps, seconds of a step and seconds of processor time in all.

        The pace is measured on the images of the folder `test`, which are fewer to read. `fitted` are changes that
        depend on the number of steps.
        """
        place, given = self.at / name, ["--logger=csv", f"--name={name}", *changes, *self.changes]
        plan, done = place / "plan.json", place / "trained.json"
        place.mkdir(parents=True, exist_ok=True)
        wanted = {"seconds": self.seconds} if self.steps is None else {"steps": self.steps}
        settings = wanted | {"root": str(self.root), "overrides": given}
        if not plan.exists():
            plan.write_text(json.dumps(self._planned(recipe, given) | {"settings": settings}))
        found = json.loads(plan.read_text())
        if found.pop("settings") != settings:
            raise SystemExit(f"{place}: trained with other settings than {settings}")
        with chdir(place):
            if not done.exists():
                steps, begin = found["steps"], time.process_time()
                given += [*self.images(), *fitted(steps), f"--trainer.max_steps={steps}"]
                given += [f"--trainer.val_check_interval={-(-steps // 2)}"]
                fit(load(RECIPES / recipe, given), "auto", quiet=True)
                done.write_text(json.dumps(found | {"cpu_seconds": round(time.process_time() - begin, 1)}))
            model = folders.load(folders.newest_folder(name)).eval()
        return model, json.loads(done.read_text())

    def _planned(self, recipe: str, given: Sequence[str]) -> dict[str, Any]:
        """The steps, and the seconds of one if their number follows from them."""
        if self.steps is not None:
            return {"steps": self.steps}
        pace = measure(RECIPES / recipe, [*given, *self.images("test")], 10)
        assert pace is not None
        return {"steps": max(2, int(self.seconds / pace["seconds"])), "step_seconds": pace["seconds"]}


def fitted_ema(steps: int) -> dict[str, Any]:
    """The callback `ema` for a training of so many steps."""
    return {"name": "ema", "decays": [max(0.5, 1 - EMA_LENGTHS / steps)]}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of a benchmark that trains on photographs."""
    parser.add_argument("--clothing", type=Path, required=True, help="folder with the folders train, validation, test")
    parser.add_argument("--seconds", type=float, default=600, help="processor time of the steps of each training")
    parser.add_argument("--steps", type=int, help="steps of each training, instead of seconds")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs, which are kept")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines; rows that are there are kept")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes of the recipes")


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The options, with the threads set."""
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    return options
