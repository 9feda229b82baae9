"""What a training step and the start of a fit cost in two checkouts, in alternating processes.

    python benchmarks/step_cost.py OLD NEW [--recipe ddpm] [--steps 30] [--rounds 3] [--out FILE.json]

A step is the time between the beginnings of two batches, so that it includes loading, logging and callbacks; the median
counts. The start is the time from the start of the process to the first batch. By default processor time of all
threads, which other processes disturb less; `--clock wall` for a device that computes beside the processor. The fit
ends after `--steps`, before its first validation.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from common import machine

FIT = """
import json, os, runpy, sys, time
from pathlib import Path
from genmods.tasks.base import Task

clock, count, out, recipe = getattr(time, sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
before = time.perf_counter() - time.process_time() if clock is time.perf_counter else 0
times, begun = [], Task.on_train_batch_start

def timed(self, *batch):
    times.append(clock())
    if len(times) > count:
        out.write_text(json.dumps({"start": times[0] - before, "steps": [b - a for a, b in zip(times, times[1:])]}))
        os._exit(0)
    return begun(self, *batch)

Task.on_train_batch_start = timed
sys.argv = ["genmods", "fit", "--quiet", "--config", recipe]
runpy.run_module("genmods", run_name="__main__", alter_sys=True)
"""


def measured(checkout: Path, options: argparse.Namespace) -> dict[str, float]:
    """The seconds of the start and of a step of one fit with the code and the recipe of a checkout."""
    clock = "perf_counter" if options.clock == "wall" else "process_time"
    recipe = checkout / "recipes" / f"{options.recipe}.yaml"
    environment = os.environ | {"PYTHONPATH": str(checkout / "src"), "WANDB_MODE": "disabled"}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "times.json"
        command = [sys.executable, "-c", FIT, clock, str(options.steps), str(out), str(recipe)]
        subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
        found = json.loads(out.read_text())
    return {"start": found["start"], "step": median(found["steps"][len(found["steps"]) // 5 :])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs=2, type=Path, metavar="CHECKOUT", help="the older one first")
    parser.add_argument("--recipe", default="ddpm", help="a recipe of both checkouts")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows: list[list[dict[str, float]]] = [[], []]
    for number in range(options.rounds):
        for row, checkout in zip(rows, options.checkouts, strict=True):
            row.append(measured(checkout.resolve(), options))
            print(f"round {number + 1}: {checkout}: {row[-1]}", flush=True)
    result: dict[str, object] = {"machine": machine(), "recipe": options.recipe, "clock": options.clock}
    for what in ("start", "step"):
        old, new = ([each[what] for each in row] for row in rows)
        ratios = [b / a for a, b in zip(old, new, strict=True)]
        result[what] = {"old": old, "new": new, "ratios": ratios}
        spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
        print(f"{what:<6}{median(old):9.4f} s {median(new):9.4f} s  ratio {median(ratios):.3f} ({spread})")
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
