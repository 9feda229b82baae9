"""What tracking costs a training step of recipes/fashion_mnist/ddpm.yaml: metrics.csv, W&B (offline), gradient and
update norms, throughput, loss by noise level; validation and its pictures are left out.

One training takes turns, a log interval with all of it, a log interval without. Overrides as for `fit` make it smaller.

    python benchmarks/logging_cost.py --rounds 10 --out docs/figures/logging_cost.json
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch
from common import ratio, report, summary, synchronise
from lightning.pytorch import Callback

from genmods.callbacks.checkpoint import RunCheckpoint
from genmods.callbacks.ema import EMA
from genmods.callbacks.loss_by_noise import LossByNoise
from genmods.callbacks.norms import Norms
from genmods.callbacks.precision import settle
from genmods.callbacks.throughput import Throughput
from genmods.config.recipe import load
from genmods.runs.fit import build_data, build_task
from genmods.runs.loggers import build_loggers, running
from genmods.runs.trainer import make_trainer

RECIPE = Path(__file__).parents[1] / "recipes" / "fashion_mnist" / "ddpm.yaml"
TRACKING = (Norms, Throughput, LossByNoise)


class Turns(Callback):
    """Switches tracking off and on after every `interval` steps, and records the seconds per step of each turn."""

    def __init__(self, interval: int) -> None:
        self.interval = interval
        self.seconds: dict[bool, list[float]] = {True: [], False: []}
        self.on = True

    def on_train_start(self, trainer, task) -> None:
        self.all = list(trainer.callbacks), list(trainer.loggers)
        self.mark = time.perf_counter()

    def on_train_batch_start(self, trainer, task, batch, index) -> None:
        if trainer.global_step == 0 or trainer.global_step % self.interval:
            return
        synchronise()
        now = time.perf_counter()
        self.seconds[self.on].append((now - self.mark) / self.interval)
        self.mark, self.on = now, not self.on
        callbacks, loggers = self.all
        trainer.callbacks = [each for each in callbacks if self.on or not isinstance(each, TRACKING)]
        trainer.loggers = loggers if self.on else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--interval", type=int, default=50, help="steps per row, as trainer.log_every_n_steps")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options, overrides = parser.parse_known_args()
    torch.set_num_threads(options.threads)
    recipe = load(RECIPE, ["--logger.mode=offline", *overrides])
    data = build_data(recipe)
    task = build_task(recipe, data.info)
    turns, loggers = Turns(options.interval), build_loggers(recipe, None)
    settings = recipe.trainer.given | {
        "max_steps": 2 * (options.rounds + 1) * options.interval + 1,
        "log_every_n_steps": options.interval,
        "limit_val_batches": 0,
        "enable_progress_bar": False,
    }
    callbacks = [EMA(), LossByNoise(), turns, RunCheckpoint(every_n_steps=settings["max_steps"])]
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(Path(folder), task, settings, callbacks, loggers)
        settle(trainer, task, settings["precision"], None, quiet=True)
        with running(Path(folder), recipe, loggers, data, None, trainer.precision):
            trainer.fit(task, data)
    tracked, plain = (turns.seconds[on][1:] for on in (True, False))  # the first turns warm up
    rows = {"with tracking": summary(tracked), "without": summary(plain)}
    cost = round(100 * (ratio(tracked, plain) - 1), 2)
    report({"batch": data.batch_size, "interval": options.interval, "step": rows, "cost_percent": cost}, options.out)


if __name__ == "__main__":
    main()
