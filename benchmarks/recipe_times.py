"""How long the training steps of each recipe take: a few steps of one thread, in processor time, times their number.

Validation, pictures and evaluation come on top. Two threads take a little more than half as long. Recipes that need a
run or a folder of images are skipped unless overrides (`-- --data.root=DIR`) set it.

    python benchmarks/recipe_times.py recipes/*.yaml recipes/fashion_mnist/*.yaml --out docs/figures/recipe_times.json
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from common import bare_trainer, report
from lightning.pytorch import Callback, Trainer

from genmods.config.recipe import load
from genmods.core.errors import UserError
from genmods.data.images import to_float
from genmods.runs.fit import build_data, build_task, is_trained

WARM_UP = 2


class Clock(Callback):
    """Processor time of each training step; ends the run after `steps` of them."""

    def __init__(self, steps: int) -> None:
        self.steps, self.marks, self.total = WARM_UP + steps, [], 0.0

    def on_train_start(self, trainer: Trainer, task: Any) -> None:
        self.total = float(trainer.estimated_stepping_batches)
        self.marks = [time.process_time()]

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.marks.append(time.process_time())
        trainer.should_stop = len(self.marks) > self.steps

    def seconds(self) -> float:
        steps = [end - start for start, end in zip(self.marks, self.marks[1:], strict=False)]
        return statistics.median(steps[WARM_UP:])


def measure(path: Path, overrides: list[str], steps: int) -> dict[str, Any] | None:
    """Steps, seconds of one step and minutes of all of a recipe; None for one that does not train."""
    recipe = load(path, overrides)
    if not is_trained(recipe):
        return None
    data = build_data(recipe)
    task = build_task(recipe, data.info)
    clock = Clock(steps)
    trainer = bare_trainer(task, recipe.trainer.given, clock)
    task.fit_statistics({"image": to_float(data.splits["train"].pixels[:5000])})
    trainer.fit(task, data)
    seconds = clock.seconds()
    minutes = round(clock.total * seconds / 60, 1)
    return {"steps": clock.total, "seconds": round(seconds, 4), "minutes": minutes, "precision": trainer.precision}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="+", type=Path)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options, overrides = parser.parse_known_args()
    torch.set_num_threads(1)
    rows: dict[str, Any] = {}
    for path in options.recipes:
        try:
            rows[str(path)] = measure(path, overrides, options.steps)
        except UserError as error:
            rows[str(path)] = str(error)
        print(path, rows[str(path)], flush=True)
    report({"what": "training steps of the recipes", "rows": rows}, options.out)


if __name__ == "__main__":
    main()
