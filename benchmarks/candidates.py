"""Candidates for better training in the same time, each against the recipe of today: is its FID lower?

Every run trains for the same processor time of one core (building, sampling and judging do not count). The learning
rate follows the recipe's schedule over that time, so that every run ends it, however many steps it takes. Samples are
of the averaged weights, and their FID and KID are to the training images, by the features of a classifier's run.

A row (candidate, seed) is appended to a JSONL file when it is measured, so that the same command continues an
interrupted one. The closing table compares each candidate with what it would replace: the mean over the seeds of the
paired differences, with Student's 95 % interval; a candidate is better only if the interval excludes 0.

    python -m genmods fit --config recipes/cnn.yaml
    python benchmarks/candidates.py --features runs/cnn --seconds 80 --seeds 1 2 3 4 5 --out bench/candidates.jsonl
    python benchmarks/candidates.py --features runs/cnn --only optimal_transport unet_mp
    python benchmarks/candidates.py --features runs/fashion_mnist-cnn --config recipes/fashion_mnist/ddpm.yaml \
        --seconds 2700 --seeds 1 2 --only optimal_transport --out bench/candidates_fashion_mnist.jsonl
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from common import bare_trainer, machine
from judge import Judge, Rows
from lightning.pytorch import Callback, Trainer
from scipy.stats import t as student

from genmods.callbacks.ema import EMA
from genmods.config.build import build
from genmods.config.recipe import Recipe, from_plain, load
from genmods.core.precision import resolve
from genmods.runs.fit import build_data, build_task

TODAY = "today"
ENDLESS = 1_000_000
"""The steps of the schedule, which stand for the time of training."""


class Candidate(NamedTuple):
    """Settings of the recipe that change, by their paths, and the candidate that it would replace."""

    changes: dict[str, Any] = {}
    against: str = TODAY


ADAM = {"optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.01}}
MUON = {"name": "muon", "lr": 4e-3, "weight_decay": 0.01}

X0 = {"task.prediction": "x0", "task.weighting": {"name": "edm", "sigma_data": 1.0}}
"""x0 prediction with the loss of v (Li and He 2025, "Back to basics: let denoising generative models denoise")."""


def dit(against: str = "dit", **settings: Any) -> Candidate:
    """A transformer with other settings than `dit`."""
    network = {"name": "dit", "width": 96, "depth": 4, "heads": 2, **settings}
    return Candidate({**ADAM, "task.network": network}, against)


CANDIDATES = {
    TODAY: Candidate(),
    "optimal_transport": Candidate({"task.name": "ot_flow"}),
    "unet_mp": Candidate({"task.network.name": "unet_mp", "optimizer": {"name": "adam", "lr": 1e-2}}),
    "dit": dit(TODAY),
    "dit_qk_norm": dit(qk_norm=True),
    "dit_rotary": dit(positions="rotary"),
    "dit_swiglu": dit(perceptron="swiglu"),
    "dit_all": dit(qk_norm=True, positions="rotary", perceptron="swiglu"),
    "muon": Candidate({"optimizer": MUON}),
    "muon_split": Candidate({"optimizer": {**MUON, "split": True}}, "muon"),
    "patch_4": dit(patch=4),
    "patch_4_x0": Candidate({**dit(patch=4).changes, **X0}, "patch_4"),
}


class Timed(Callback):
    """Ends training after `limit` seconds of processor time, over which the recipe's schedule runs."""

    def __init__(self, limit: float):
        self.limit, self.begun, self.seconds = limit, 0.0, 0.0

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.begun = time.process_time()

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        progress = min(1.0, (time.process_time() - self.begun) / self.limit)
        schedule: Any = trainer.lr_scheduler_configs[0].scheduler
        for group, base in zip(schedule.optimizer.param_groups, schedule.base_lrs, strict=True):
            group["lr"] = base * schedule.factor(int(progress * ENDLESS))

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.seconds = time.process_time() - self.begun
        trainer.should_stop = self.seconds >= self.limit


def recipe_of(candidate: Candidate, config: Path, seed: int) -> Recipe:
    """The recipe of a candidate with a `seed`."""
    plain = load(config).plain()
    changes = {"seed": seed, "schedule.warmup": 0.05, "trainer.max_steps": ENDLESS, **candidate.changes}
    for path, value in changes.items():
        *sections, name = path.split(".")
        at = plain
        for section in sections:
            at = at[section]
        at[name] = value
    return from_plain(plain, source="recipe", saved=False)


def trained(recipe: Recipe, seconds: float, precision: str) -> tuple[Any, int, float]:
    """The model with averaged weights after `seconds`, its steps and the seconds that it took."""
    data = build_data(recipe)
    task: Any = build_task(recipe, data.info)
    task.fit_statistics(data.examples())
    callbacks = [build(part, data.info.settings()) for part in recipe.callbacks]
    (ema,) = (callback for callback in callbacks if isinstance(callback, EMA))
    clock = Timed(seconds)
    trainer = bare_trainer(task, recipe.trainer.given | {"precision": precision}, ema, clock)
    trainer.fit(task, data)
    with ema.weights(task, averaged=True):
        return task.model.eval(), trainer.global_step, clock.seconds


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    judge = Judge(build_data(load(options.config)), options.features)
    precision = resolve(options.precision, torch.device("cpu")).value
    fixed = {
        "config": "/".join(options.config.parts[-2:]),
        "seconds": options.seconds,
        "n": options.n,
        "precision": precision,
    }
    rows = Rows(options.out, ("candidate", "seed"), fixed | {"features": judge.features.name})
    names = [TODAY, *options.only]
    for point in rows.left({"candidate": name, "seed": seed} for name in names for seed in options.seeds):
        recipe = recipe_of(CANDIDATES[point["candidate"]], options.config, point["seed"])
        model, steps, seconds = trained(recipe, options.seconds, precision)
        figures: dict[str, Any] = {"trained_steps": steps, "trained_seconds": round(seconds, 2)}
        for count in options.steps:
            found = judge.distances(model.sample(options.n, seed=point["seed"], steps=count))
            figures |= {f"fid_{count}": found["fid"], f"kid_{count}": found["kid"]}
        rows.add({**point, **figures, "machine": machine()})
    return rows.rows


def differences(rows: list[dict[str, Any]], name: str, figure: str) -> Iterator[float]:
    """The figure of a candidate minus that of what it would replace, for each seed that both have."""
    values = {(row["candidate"], row["seed"]): row.get(figure) for row in rows}
    for (candidate, seed), value in values.items():
        other = values.get((CANDIDATES[name].against, seed))
        if candidate == name and value is not None and other is not None:
            yield value - other


def table(rows: list[dict[str, Any]]) -> None:
    columns = (
        f"{'candidate':<18}{'against':<10}{'figure':<9}{'mean':>10}{'difference':>12}{'95 % interval':>22}{'seeds':>6}"
    )
    print(f"{columns}  result")
    measured = dict.fromkeys(row["candidate"] for row in rows)
    figures = dict.fromkeys(key for row in rows for key in row if key.startswith(("fid_", "kid_")))
    for name in measured:
        for figure in figures:
            mean = statistics.mean(row[figure] for row in rows if row["candidate"] == name and figure in row)
            line = f"{name:<18}{'' if name == TODAY else CANDIDATES[name].against:<10}{figure:<9}{mean:>10.4f}"
            found = list(differences(rows, name, figure)) if name != TODAY else []
            if len(found) > 1:
                middle = statistics.mean(found)
                half = student.ppf(0.975, len(found) - 1) * statistics.stdev(found) / len(found) ** 0.5
                verdict = "better" if middle + half < 0 else "worse" if middle - half > 0 else "no difference shown"
                interval = f"{middle - half:.4f} to {middle + half:.4f}"
                line += f"{middle:>12.4f}{interval:>22}{len(found):>6}  {verdict}"
            print(line)


def main() -> None:
    others = [name for name in CANDIDATES if name != TODAY]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", required=True, help="a classifier's run")
    parser.add_argument("--config", type=Path, default=Path(__file__).parents[1] / "recipes/ddpm.yaml")
    parser.add_argument("--only", nargs="*", choices=others, default=others, metavar="NAME", help=", ".join(others))
    parser.add_argument("--seconds", type=float, default=80.0, help="processor time of a training run")
    parser.add_argument("--seeds", nargs="*", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--steps", nargs="*", type=int, default=[4, 8, 16], help="of sampling")
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--precision", default="auto", help="of training; auto is measured once, at the start")
    parser.add_argument("--out", type=Path, default=Path("bench/candidates.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    table(measure(options))


if __name__ == "__main__":
    main()
