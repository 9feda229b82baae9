"""Long runs: memory over 10,000 steps of two tasks, 50,000 generated and 50,000 classified images does not grow.

nox -s torture -- memory
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.torture import Chance, Command, copied, main
from support.torture_runs import fit, trained

STEPS, IMAGES = 10_000, 50_000
PER_THOUSAND = 1.0
"""MiB per 1,000 steps or images that are allowed: what an allocator's fragments come to."""


def attack(chance: Chance, folder: Path) -> str:
    kind = chance.deal(["c", "d", "generate", "classify"])
    if kind in ("c", "d"):
        quiet = ["--trainer.val_check_interval=2000", "--callbacks.2.every_n_steps=2000"]
        words = [[*quiet, f"--trainer.max_steps={steps}"] for steps in (STEPS // 2, STEPS)]  # the report is full-sized
        peaks = []
        for k, each in enumerate(words):
            place = folder / str(k)
            place.mkdir()
            done = fit(kind, place, *each).wait(3600)
            if fault := done.fault(0):
                return f"{kind}: {fault}"
            peaks.append(done.memory)
        grown, thousands = peaks[1] - peaks[0], STEPS / 2000
    else:
        copied(trained("d") / "run", folder / "d")
        copied(trained("c") / "run", folder / "c")
        peaks = []
        for count in (IMAGES // 10, IMAGES):
            done = Command(["generate", "--ckpt_path", "d", "--n", str(count), "--out", f"o{count}"], folder).wait(3600)
            if kind == "classify" and not done.fault(0):
                words = ["classify", "--ckpt_path", "c", "--input", f"o{count}", "--out", f"{count}.csv"]
                done = Command(words, folder).wait(3600)
            if fault := done.fault(0):
                return f"{kind}: {fault}"
            peaks.append(done.memory)
        grown, thousands = peaks[1] - peaks[0], 0.9 * IMAGES / 1000
    rate = grown / 2**20 / thousands
    print(f"  {kind}: {peaks[0] / 2**20:.0f} and {peaks[1] / 2**20:.0f} MiB, {rate:+.2f} MiB per 1,000")
    return f"{kind}: {rate:.2f} MiB per 1,000" if rate > PER_THOUSAND else ""


if __name__ == "__main__":
    sys.exit(main("memory"))
