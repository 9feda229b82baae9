"""Stopped anywhere, by a signal or kill -9, and resumed: weights, optimizer, metrics and samples as if never stopped.

nox -s torture -- stop_points
"""

import os
import random
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from genmods.data.loader import Loader
from genmods.runs import fit as fitting
from genmods.tasks.base import Task
from support.torture import command, main
from support.torture_runs import RECIPES, STEPS, fit, left_over, outcome, trained

SIGNALS = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129, signal.SIGKILL: -9}
PLACES = {
    "before a batch": (Task, "on_train_batch_start"),
    "in the backward pass": (Task, "backward"),
    "before a step": (Task, "optimizer_step"),
    "in a validation": (Task, "validation_step"),
    "after a validation": (Task, "on_validation_epoch_end"),
    "in the loader": (Loader, "state_dict"),
    "in the calibration": (fitting, "calibrate"),
}
OPTIONS = ["--data.num_workers=1", "--data.num_workers=2", "--trainer.accumulate_grad_batches=3"]


def stops(place: str, at: int, number: int):
    """A preparation: the process sends itself the signal at the `at`-th call of a place."""

    def prepare() -> None:
        owner, name = PLACES[place]
        original, count = getattr(owner, name), 0

        def act(*given, **more):
            nonlocal count
            count += 1
            if count == at:
                os.kill(os.getpid(), number)
            return original(*given, **more)

        setattr(owner, name, act)

    return prepare


def attack(chance: random.Random, folder: Path) -> str:
    name = chance.choice(list(RECIPES))
    more = (chance.choice(OPTIONS),) if chance.random() < 0.4 else ()
    whole = trained(name, *(option for option in more if "workers" not in option))
    number, place, at = chance.choice(list(SIGNALS)), chance.choice(list(PLACES)), chance.randint(1, STEPS)
    if "valid" in place or "calibration" in place:
        at = chance.randint(1, 3) if "valid" in place else 1
    told = f"{name} {' '.join(more)} {signal.Signals(number).name} {place} {at}"
    done = fit(name, folder, *more, prepare=stops(place, at, number)).wait()
    if done.status not in (0, SIGNALS[number]):
        return f"{told}: status {done.status}: {done.err[-200:]}"
    if "Traceback" in done.err:
        return f"{told}: a traceback"
    again = command("fit", "--config", "recipe.yaml", "--quiet", "--ckpt_path", "auto", *more)
    if fault := again.fault(0):
        return f"{told}: resume: {fault}"
    runs = [run for run in (folder / "runs").glob("*/*") if (run / "checkpoints" / "last.ckpt").is_file()]
    if len(runs) != 1:
        return f"{told}: {len(runs)} runs"
    parts = ("weights", "optimizer", "metrics")
    found = zip(parts, outcome(runs[0]), outcome(whole / "run"), strict=True)
    if other := [part for part, one, two in found if one != two]:
        return f"{told}: other {', '.join(other)} than without the stop"
    return left_over(runs[0])


if __name__ == "__main__":
    sys.exit(main("stop_points"))
