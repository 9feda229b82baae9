"""Disks that are small, have few inodes, or are filled by another program: one line, and the run continues with space.

nox -s torture -- disks                  (root mounts a small file system; without root the errors are simulated)
"""

import errno
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from genmods.tasks.base import Task
from support.torture import Chance, command, main
from support.torture_runs import RECIPES, STEPS, fit, left_over, outcome, trained


def full_after(count: int):
    """A preparation: from the `count`-th file on, writing fails as on a full disk."""

    def prepare() -> None:
        fsync, replace, calls = os.fsync, os.replace, 0

        def act(original):
            def acting(*given, **more):
                nonlocal calls
                calls += 1
                if calls >= count:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return original(*given, **more)

            return acting

        os.fsync, os.replace = act(fsync), act(replace)

    return prepare


def filled_at(step: int, left: int, filler: Path):
    """A preparation: at a step of the fit another program fills the disk except for so many bytes."""

    def prepare() -> None:
        original = Task.on_train_batch_start

        def act(task, batch, index):
            if task.trainer.global_step == step and not filler.exists():
                free = os.statvfs(filler.parent)
                filler.write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - left)))
            return original(task, batch, index)

        Task.on_train_batch_start = act

    return prepare


def mounted(place: Path, options: str) -> bool:
    """Mount a small file system, where that is possible."""
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def attack(chance: Chance, folder: Path) -> str:
    name, place = chance.choice(list(RECIPES)), folder / "disk"
    kind = chance.deal(["small", "few inodes", "filled"])
    size = chance.randint(40, 600) if kind == "small" else 3000
    nodes = chance.randint(5, 30) if kind == "few inodes" else 0
    real = mounted(place, f"size={size}k{f',nr_inodes={nodes}' if nodes else ''}")
    prepare = None if real else full_after(chance.randint(1, 12))
    if real and kind == "filled":
        prepare = filled_at(chance.randint(0, STEPS - 1), chance.choice([0, 4096, 50_000, 200_000]), place / "filler")
    try:
        return _filled(name, place, f"{name} {kind} {size}k {nodes} inodes" if real else name, prepare, real)
    finally:
        if real:
            subprocess.run(["umount", "-l", str(place)], check=True)


def _filled(name: str, place: Path, told: str, prepare, real: bool) -> str:
    try:
        done = fit(name, place, prepare=prepare).wait()
    except OSError:  # the recipe itself does not fit
        return ""
    if fault := done.fault(0, 2):
        return f"{told}: {fault}"
    lines = done.err.splitlines()
    if done.status == 2 and not (len(lines) == 1 and ("free" in lines[0] or "No space" in lines[0])):
        return f"{told}: {done.err[:300]!r}"
    runs = [run for run in (place / "runs").glob("*/*") if (run / "checkpoints" / "last.ckpt").is_file()]
    for run in runs:
        if fault := left_over(run):
            return f"{told}: {fault}"
    if done.status == 0 or not runs:
        return ""
    os.chdir(place)
    Path("filler").unlink(missing_ok=True)
    if real:
        subprocess.run(["mount", "-o", "remount,size=200m,nr_inodes=0", str(place)], check=True)
    again = command("fit", "--config", "recipe.yaml", "--quiet", "--ckpt_path", "last")
    os.chdir(place.parent)
    if fault := again.fault(0):
        return f"{told}: resume: {fault}"
    same = outcome(runs[0])[:2] == outcome(trained(name) / "run")[:2]
    return "" if same else f"{told}: another result after the disk was full"


if __name__ == "__main__":
    sys.exit(main("disks"))
