"""Long runs: memory over 10,000 steps of two tasks, 50,000 generated and 50,000 classified images does not grow.

nox -s torture -- memory
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.torture import Chance, Command, Done, copied, main
from support.torture_runs import RECIPES, fit, trained

STEPS, IMAGES = 10_000, 50_000
PER_THOUSAND = 1.0
"""MiB per 1,000 steps or images that are allowed: what an allocator's fragments come to."""


def attack(chance: Chance, folder: Path) -> str:
    kind = chance.deal(["c", "d", "generate", "classify"])
    done, first, thousands = (training if kind in RECIPES else images)(kind, folder)
    if fault := done.fault(0):
        return f"{kind}: {fault}"
    rate = (done.memory - first) / 2**20 / thousands
    print(f"  {kind}: {first / 2**20:.0f} and {done.memory / 2**20:.0f} MiB, {rate:+.2f} MiB per 1,000")
    return f"{kind}: {rate:.2f} MiB per 1,000" if rate > PER_THOUSAND else ""


def training(kind: str, folder: Path) -> tuple[Done, int, float]:
    """A run of all steps: how it ended, its peak memory after half of them, and the thousands of steps of the rest."""
    quiet = ["--trainer.val_check_interval=2000", "--callbacks.2.every_n_steps=2000"]
    command, halfway = fit(kind, folder, *quiet, f"--trainer.max_steps={STEPS}"), 0

    def watch() -> None:
        nonlocal halfway
        if not halfway and last_step(folder) >= STEPS // 2:
            halfway = command.peak()

    return command.wait(3600, watch), halfway, STEPS / 2000


def last_step(folder: Path) -> int:
    """The step of the last row of the run's metrics; 0 without one."""
    for path in folder.glob("runs/*/*/metrics.csv"):
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 1000))
            row = file.read().splitlines()[-1]
        return int(row.split(b",", 1)[0]) if row[:1].isdigit() else 0
    return 0


def images(kind: str, folder: Path) -> tuple[Done, int, float]:
    """As for training, for the images of `generate` and `classify`: a tenth of them in a process of their own."""
    copied(trained("d") / "run", folder / "d")
    copied(trained("c") / "run", folder / "c")
    peaks = []
    for count in (IMAGES // 10, IMAGES):
        done = Command(["generate", "--ckpt_path", "d", "--n", str(count), "--out", f"o{count}"], folder).wait(3600)
        if kind == "classify" and not done.fault(0):
            words = ["classify", "--ckpt_path", "c", "--input", f"o{count}", "--out", f"{count}.csv"]
            done = Command(words, folder).wait(3600)
        peaks.append(done.memory)
        if done.fault(0):
            break
    return done, peaks[0], 0.9 * IMAGES / 1000


if __name__ == "__main__":
    sys.exit(main("memory"))
