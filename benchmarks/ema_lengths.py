"""FID against the length of the averages of weights, of a run with the callback `power_ema`, beside its fixed EMA.

Each row (length, seed, n) is appended to a JSONL file when it is measured, so that the same command continues an
interrupted one. The length "ema" is the average of the callback `ema`, if the run has one.

    python benchmarks/ema_lengths.py --run RUN --features runs/cnn --lengths 0.03 0.05 0.1
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from common import machine
from judge import Judge, Rows, run_data

from genmods.runs import folders
from genmods.runs.averages import averaged


def measure(options: argparse.Namespace) -> None:
    judge = Judge(run_data(options.run), options.features)
    rows = Rows(options.out, ("length", "seed", "n"), {"features": judge.features.name, "run": options.run})
    wanted = (
        {"length": length, "seed": s, "n": options.n} for length in ["ema", *options.lengths] for s in options.seeds
    )
    for point in rows.left(wanted):
        if point["length"] == "ema":
            model, error, megabytes = folders.load(options.run), None, None
        else:
            checkpoint, found = averaged(options.run, point["length"])
            model, error, megabytes = checkpoint.model(), found.error, round(found.megabytes, 1)
        figures = judge.distances(model.sample(options.n, seed=point["seed"], steps=options.steps))
        rows.add({**point, **figures, "error": error, "megabytes": megabytes, "machine": machine()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, help="a run with the callback power_ema")
    parser.add_argument("--features", required=True, help="a classifier's run")
    parser.add_argument("--lengths", nargs="*", type=float, default=[0.02, 0.03, 0.05, 0.07, 0.1, 0.14, 0.2])
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--steps", type=int, help="sampling steps instead of the run's")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("bench/ema_lengths.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    measure(options)


if __name__ == "__main__":
    main()
