"""FID and KID at 1, 2 and 4 steps of consistency tuning and mean flow, beside UniPC's at 4, 8 and 64.

Each row (method, steps, seed, n) is appended to a JSONL file when it is measured, so that the same command continues an
interrupted one; all rows of a file have the same features and precision. The runs are those of the recipes:

    python -m genmods fit --config recipes/ddpm.yaml
    python -m genmods fit --config recipes/consistency.yaml --task.from=runs/ddpm
    python -m genmods fit --config recipes/mean_flow.yaml
    python -m genmods fit --config recipes/cnn.yaml
    python benchmarks/few_step_methods.py --base runs/ddpm --tuned runs/consistency --mean_flow runs/mean_flow \
        --features runs/cnn --n 2000 --seeds 0 --out bench/few_step_methods.jsonl

The closing table has the mean over the seeds of each method, and its ratio to UniPC's at 8 steps.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from common import machine
from judge import Judge, Rows, run_data
from torch import Tensor

from genmods.cli import model_options
from genmods.runs import folders

FEW, MANY = (1, 2, 4), (4, 8, 64)
METHODS = {"base": ("unipc", MANY), "tuned": ("consistency", FEW), "mean_flow": ("mean_flow", FEW)}
"""Option -> the sampler of its run, and the numbers of steps."""
KEY = ("method", "steps", "seed", "n")


def wanted(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What is to be measured, as the first columns of its row; fewer samples are the first of more."""
    for seed in options.seeds:
        for name, (sampler, steps) in METHODS.items():
            if getattr(options, name):
                for count in steps:
                    yield from ({"method": sampler, "steps": count, "seed": seed, "n": n} for n in options.n)


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    judge = Judge(run_data(options.base), options.features)
    fixed = {"title": options.title, "features": judge.features.name, "precision": options.precision}
    rows = Rows(options.out, KEY, fixed)

    @cache
    def load(run: str) -> Any:
        return model_options.placed(folders.load(run), options)

    runs = {sampler: getattr(options, name) for name, (sampler, _) in METHODS.items()}

    @cache
    def samples(method: str, steps: int, seed: int) -> Tensor:
        return load(runs[method]).sample(max(options.n), sampler=method, steps=steps, seed=seed)

    for point in rows.left(wanted(options)):
        images = samples(point["method"], point["steps"], point["seed"])[: point["n"]]
        where = folders.run_folder(folders.find_checkpoint(runs[point["method"]]))
        rows.add({**point, **judge.distances(images), "run": str(where), "machine": machine()})
    return rows.rows


def table(rows: list[dict[str, Any]]) -> None:
    groups: dict[tuple[int, str, int], list[float]] = {}
    for row in rows:
        groups.setdefault((row["n"], row["method"], row["steps"]), []).append(row["fid"])
    print(f"{'n':>6}  {'method':<12}{'steps':>5}{'FID':>10}{'seeds':>7}{'/ UniPC 8':>11}")
    for (n, method, steps), values in sorted(groups.items()):
        fid, reference = statistics.mean(values), groups.get((n, "unipc", 8))
        ratio = f"{fid / statistics.mean(reference):.2f}" if reference else "-"
        print(f"{n:>6}  {method:<12}{steps:>5}{fid:>10.3f}{len(values):>7}{ratio:>11}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, help="a diffusion run, sampled by UniPC")
    parser.add_argument("--tuned", help="the run of consistency tuning from it")
    parser.add_argument("--mean_flow", help="a run of the task mean_flow")
    parser.add_argument("--features", required=True, help="a classifier's run")
    parser.add_argument("--title", default="digits")
    parser.add_argument("--n", nargs="*", type=int, default=[2000, 5000])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--precision", choices=("32", "bf16"), default="32", help="of the networks")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("bench/few_step_methods.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    table(measure(options))


if __name__ == "__main__":
    main()
