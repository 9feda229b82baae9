"""kill -9 at any instant, every other one while a checkpoint is written: nothing lost, nothing partial, exact resume.

nox -s torture -- kills
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from genmods.core import checkpoint as files
from support.torture import command, main
from support.torture_runs import RECIPES, fit, left_over, outcome, trained

PLACES = ("written", "half", "synced", "renamed")


def dies_while_saving(place: str, at: int):
    """A preparation: the process kills itself within the `at`-th write of a checkpoint."""

    def prepare() -> None:
        count = 0
        save, fsync, replace = files.torch.save, os.fsync, Path.replace

        def dying(name, original):
            def act(*given, **more):
                nonlocal count
                found = original(*given, **more)
                count += name == "written"
                if count == at and place == "half" and name == "written":
                    os.truncate(given[1].name, os.path.getsize(given[1].name) // 2)
                if count == at and name == ("written" if place == "half" else place):
                    os.kill(os.getpid(), signal.SIGKILL)
                return found

            return act

        files.torch.save, os.fsync = dying("written", save), dying("synced", fsync)
        Path.replace = dying("renamed", replace)

    return prepare


def attack(chance: random.Random, folder: Path) -> str:
    name = chance.choice(list(RECIPES))
    whole, within = trained(name), chance.random() < 0.5
    place, at = chance.choice(PLACES), chance.randint(1, 6)
    process = fit(name, folder, prepare=dies_while_saving(place, at) if within else None)
    if not within:
        time.sleep(chance.uniform(0.05, 3.0))
        process.kill()
    done = process.wait()
    if done.status not in (-9, 0):
        return f"{name} ended with {done.status}: {done.err[-200:]}"
    runs = [path for path in (folder / "runs").glob("*/*") if path.is_dir()]
    for run in runs:
        for path in run.rglob("*.ckpt"):
            files.load(path)  # raises where it is partial
    if done.status == -9:
        again = command("fit", "--config", "recipe.yaml", "--quiet", "--ckpt_path", "auto")
        if fault := again.fault(0):
            return f"{name} {place if within else 'anywhere'}: resume: {fault}"
    finished = [run for run in (folder / "runs").glob("*/*") if (run / "checkpoints" / "last.ckpt").is_file()]
    if len(finished) != 1:
        return f"{len(finished)} runs with a checkpoint"
    if outcome(finished[0]) != outcome(whole / "run"):
        return f"{name} {place if within else 'anywhere'} {at}: another result than without the kill"
    return left_over(finished[0])


if __name__ == "__main__":
    sys.exit(main("kills"))
