"""Signals in thirteen phases, from reading the recipe to the end: the status of the signal, and how to resume.

nox -s torture -- signals
"""

import os
import signal
import sys
import time
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.torture import Chance, Command, main
from support.torture_runs import CLASSIFIER, DIFFUSION, left_over

PHASES = {
    "reading the recipe": "genmods.config.recipe:_recipe",
    "reading the data": "genmods.runs.fit:build_data",
    "importing a part": "genmods.config.registry:imported",
    "building the model": "genmods.config.build:constructed",
    "making the trainer": "genmods.runs.fit:make_trainer",
    "opening the loggers": "genmods.runs.fit:build_loggers",
    "sanity validation": "genmods.tasks.base:Task.validation_step",
    "the first step": "genmods.tasks.base:Task.on_train_batch_start",
    "a later step": "genmods.tasks.base:Task.on_train_batch_start",
    "a validation": "genmods.tasks.base:Task.validation_step",
    "saving": "genmods.core.checkpoint:digest",
    "the report": "genmods.callbacks.report:write_report",
    "calibration": "genmods.runs.fit:calibrate",
}
CALLS = {"a later step": 19, "a validation": 3, "saving": 5, "the report": 4, "importing a part": 5}
"""The number of calls, of which one is chosen; one of any other phase."""
SIGNALS = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129, signal.SIGUSR1: 143}


def sends(phase: str, at: int, number: int, twice: bool):
    """A preparation: the process sends itself a signal at the `at`-th call of a phase."""

    def prepare() -> None:
        if number == signal.SIGUSR1:
            os.environ["SLURM_JOB_ID"] = "1"
        module, _, path = PHASES[phase].partition(":")
        owner = import_module(module)
        *outer, name = path.split(".")
        for part in outer:
            owner = getattr(owner, part)
        original, count = getattr(owner, name), 0

        def act(*given, **more):
            nonlocal count
            count += 1
            if count == at:
                os.kill(os.getpid(), number)
                if twice:
                    time.sleep(0.01)
                    os.kill(os.getpid(), number)
            return original(*given, **more)

        setattr(owner, name, act)

    return prepare


def attack(chance: Chance, folder: Path) -> str:
    phase, number = chance.deal(PHASES), chance.choice(list(SIGNALS))
    twice = number == signal.SIGINT and chance.random() < 0.3
    if number == signal.SIGUSR1 and "recipe" in phase:
        number = signal.SIGTERM
    (folder / "recipe.yaml").write_text(chance.choice([CLASSIFIER, DIFFUSION]))
    at = chance.randint(1, CALLS.get(phase, 1))
    sanity = ["--trainer.num_sanity_val_steps=1"] * (phase == "sanity validation")
    arguments = ["fit", "--config", "recipe.yaml", "--quiet", *sanity]
    done = Command(arguments, folder, sends(phase, at, number, twice)).wait()
    told = f"{signal.Signals(number).name}{' twice' * twice} {phase} {at}"
    lines = [line for line in done.err.splitlines() if line.strip()]
    if "Traceback" in done.err or len(lines) > 3:
        return f"{told}: {len(lines)} lines: {lines[-1][:200]}"
    if phase == "reading the recipe" and number != signal.SIGINT:  # nothing is begun: as any other program
        return "" if done.status == -number else f"{told}: status {done.status}"
    if done.status != SIGNALS[number]:
        return f"{told}: status {done.status}: {lines[-1:]}"
    runs = [run for run in (folder / "runs").glob("*/*") if (run / "checkpoints" / "last.ckpt").is_file()]
    if runs and "resume with: " not in done.err and not twice:
        return f"{told}: no line on how to go on: {lines}"
    if not lines:
        return f"{told}: not a word"
    return next(filter(None, map(left_over, runs)), "")


if __name__ == "__main__":
    sys.exit(main("signals"))
