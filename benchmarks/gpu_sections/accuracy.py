"""A classifier against the clock: seconds to 94 % of the test images, and the accuracy after 60 seconds of training.

`fashion_mnist/cnn` and `fashion_mnist/long`, the second with as many epochs as the time holds. The clock counts
training and loading, not the tests after each epoch; the accuracy is that of the last epoch, not of the best one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from race import Race, ours

from genmods.runs.fit import build_data
from gpu_sections import data
from gpu_sections.job import Figures, Job, NotMeasured

TARGET, SECONDS = 94.0, 60.0
WEIGHTS = "classifier.pt"


def rows(job: Job) -> dict[str, Callable[[], Figures]]:
    return {"seconds to 94 %": partial(to_target, job), "accuracy in 60 s": partial(in_time, job)}


def run(job: Job, name: str, target: float, cap: float, *more: str) -> tuple[Race, Any]:
    """A recipe's race to `target` percent or for `cap` seconds, and its trained task."""
    recipe = data.recipe(job, name, "--data.val_fraction=0", *more)
    race = Race(build_data(recipe).splits["test"], target, cap)
    return race, ours(race, recipe)


def to_target(job: Job) -> Figures:
    run(job, "cnn", 100.1, job.size(30, 5), "--trainer.max_epochs=1")  # a GPU chooses its algorithms in it
    race, _ = run(job, "cnn", TARGET, job.size(30, 5), *job.size((), ("--trainer.max_epochs=2",)))
    return {"data": data.name(job), "seconds": round(race.seconds, 2), "arrived": race.arrived, **last(race)}


def in_time(job: Job) -> Figures:
    limit = min(job.size(SECONDS, 1.0), job.left() - job.size(15, 0))
    if limit <= 0:
        raise NotMeasured("no time left")
    first, _ = run(job, "long", 100.1, limit, f"--trainer.max_epochs={job.size(4, 2)}")
    pace = (first.ends[-1] - first.ends[0]) / max(1, len(first.ends) - 1) or first.seconds  # the first one warms up
    epochs = max(2, int(0.95 * limit / pace))
    race, task = run(job, "long", 100.1, limit, f"--trainer.max_epochs={epochs}")
    torch.save(task.state_dict(), job.folder / WEIGHTS)
    return {"data": data.name(job), "seconds": round(race.seconds, 2), **last(race)}


def last(race: Race) -> Figures:
    return {"epochs": len(race.accuracies), "accuracy": race.accuracies[-1] if race.accuracies else None}
