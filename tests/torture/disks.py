"""Full disks: one line with path and free bytes, nothing good lost, and the run goes on once there is room.

nox -s torture -- disks                  (root mounts a small file system; without root the system is told to say so)
"""

import errno
import os
import random
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.torture import command, main
from support.torture_runs import RECIPES, fit, left_over, outcome, trained


def full_after(count: int):
    """A preparation: from the `count`-th file on, writing says that the disk is full."""

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


def mounted(place: Path, options: str) -> bool:
    """Mount a small file system, where that is possible."""
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def attack(chance: random.Random, folder: Path) -> str:
    name, place = chance.choice(list(RECIPES)), folder / "disk"
    size, nodes = chance.choice([100, 300, 500, 700, 1000, 1500, 2500]), chance.choice([0, 0, 0, 6, 12, 20])
    real = mounted(place, f"size={size}k{f',nr_inodes={nodes}' if nodes else ''}")
    try:
        return _filled(chance, name, place, f"{name} {size}k {nodes} inodes" if real else name, real)
    finally:
        if real:
            subprocess.run(["umount", "-l", str(place)], check=True)


def _filled(chance: random.Random, name: str, place: Path, told: str, real: bool) -> str:
    try:
        done = fit(name, place, prepare=None if real else full_after(chance.randint(1, 12))).wait()
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
