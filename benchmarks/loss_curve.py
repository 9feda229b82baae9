"""Whether bfloat16 costs anything in training: loss curves of three seeds under autocast beside those in float32.

recipes/fashion_mnist/ddpm.yaml for a few hundred steps; the loss is averaged in tenths. bfloat16 passes where its mean
curve is as close to the mean curve of float32 as the seeds of float32 are to each other.

    python benchmarks/loss_curve.py --steps 300 --out docs/figures/loss_curve.json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from common import report
from lightning.pytorch import Callback, Trainer

from genmods.config.recipe import load
from genmods.runs.fit import build_data, build_task

RECIPE = Path(__file__).parents[1] / "recipes/fashion_mnist/ddpm.yaml"
SEEDS = (7, 8, 9)


class Losses(Callback):
    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
        self.values.append(float(outputs["loss"]))


def curve(seed: int, precision: str, steps: int, parts: int = 10) -> torch.Tensor:
    """The mean loss [parts] of each part of a training."""
    recipe = load(str(RECIPE), [f"--seed={seed}", f"--schedule.warmup={steps // 10}"])
    data = build_data(recipe)
    task = build_task(recipe, data.info)
    losses = Losses()
    silent = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    settings = {"precision": precision, "max_steps": steps, "limit_val_batches": 0, "gradient_clip_val": 1.0}
    Trainer(**settings, **silent, callbacks=[losses], use_distributed_sampler=False).fit(task, data)
    return torch.tensor(losses.values).view(parts, -1).mean(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300, help="a multiple of 10")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    curves = {
        precision: torch.stack([curve(seed, precision, options.steps) for seed in SEEDS])
        for precision in ("32-true", "bf16-mixed")
    }
    full, reduced = curves.values()
    gap = (reduced.mean(0) - full.mean(0)).abs()
    spread = full.max(0).values - full.min(0).values
    found = {"what": "loss curves", "steps": options.steps, "seeds": SEEDS}
    tables = {name: [[round(v, 5) for v in row] for row in table.tolist()] for name, table in curves.items()}
    within = bool((gap <= spread).all())
    report({**found, "curves": tables, "gap": gap.tolist(), "spread": spread.tolist(), "within": within}, options.out)


if __name__ == "__main__":
    main()
