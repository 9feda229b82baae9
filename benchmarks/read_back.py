"""Numbers as conditions: are place and size of generated shapes those that were requested?

A diffusion model of synthetic shapes is conditioned on three numbers, height, width and radius, and a regressor is
trained to read them from images. Samples are drawn for the numbers of the test images at several scales of
classifier-free guidance, and the regressor reads them back: R² per number, 1 minus the squared error over the variance
of the requested numbers. R² of the regressor on the test images themselves is the most that can be shown.

    python benchmarks/read_back.py --out bench/read_back.json
    python benchmarks/read_back.py --model runs/read_back-model --regressor runs/read_back-regressor

Without `--model` and `--regressor` both are trained first, into `runs/read_back-model` and `runs/read_back-regressor`;
a stopped run continues. The figures are of the averaged weights.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from common import report
from judge import run_data
from torch import Tensor

import genmods
from genmods.data.images import to_float

DATA = {"name": "synthetic", "targets": "place", "side": 16, "channels": 1, "train_images": 32768, "test_images": 1000}
"""So many images that the regressor does not overfit: of 4,096 it reads the radius with R² 0.946 only."""
SHARED = {
    "data": DATA | {"batch_size": 128},
    "schedule": {"name": "cosine", "warmup": 0.05},
    "callbacks": [{"name": "ema", "decays": [0.998]}],
    "logger": "csv",
}
UNET = {"name": "unet", "width": 32, "multipliers": [1, 2], "blocks": 1, "patch": 2, "cond_size": 3}
MODEL = {
    "name": "read_back-model",
    "task": {
        "name": "diffusion",
        "network": UNET,
        "process": "cosine",
        "prediction": "v",
        "density": "low_discrepancy",
        "conditioning": "numbers",
        "sampler": {"name": "unipc", "steps": 16},
    },
    "optimizer": {"name": "adamw", "lr": 4e-3, "weight_decay": 0.01},
}
LAYERS = ["conv 32", "pool 2", "conv 64", "pool 2", "conv 64", "linear 64"]
REGRESSOR = {
    "name": "read_back-regressor",
    "task": {"name": "regression", "network": {"name": "cnn", "layers": LAYERS}},
    "optimizer": {"name": "adamw", "lr": 3e-3, "weight_decay": 0.01},
}


def r2(found: Tensor, wanted: Tensor) -> list[float]:
    """R² of each column of `found` [N, K] against `wanted` [N, K]."""
    found, wanted = found.double().cpu(), wanted.double()
    shares = (found - wanted).square().sum(0) / (wanted - wanted.mean(0)).square().sum(0)
    return [round(value, 4) for value in (1 - shares).tolist()]


def run_of(recipe: dict[str, Any], given: str | None, steps: int) -> tuple[str, float | None]:
    """A run, `given` or trained for `steps`, and the processor seconds of its training, if it was."""
    if given is not None:
        return given, None
    begun = time.process_time()
    trainer = {
        "max_steps": steps,
        "gradient_clip_val": 1.0,
        "check_val_every_n_epoch": None,
        "val_check_interval": steps,
    }
    run = genmods.fit(recipe | SHARED | {"trainer": trainer}, ckpt_path="auto")
    return str(run.folder), round(time.process_time() - begun, 1)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    (model_run, model_seconds), (regressor_run, regressor_seconds) = (
        run_of(MODEL, options.model, options.model_steps),
        run_of(REGRESSOR, options.regressor, options.regressor_steps),
    )
    model, regressor, data = genmods.load(model_run), genmods.load(regressor_run), run_data(model_run)
    test, names = data.splits["test"], list(model.conditioned_on().names)
    if names != list(regressor.class_names):
        raise SystemExit(f"the model has the numbers {names}, the regressor {list(regressor.class_names)}")
    wanted = test.labels[: options.n]
    request = {name: wanted[:, k].tolist() for k, name in enumerate(names)}
    with torch.no_grad():
        rows = {"test images": r2(regressor.predictions(to_float(test.pixels[: options.n], data.info.levels)), wanted)}
        for scale in options.guidance:
            images = model.sample(len(wanted), request, guidance=scale, seed=1)
            rows[f"guidance {scale:g}"] = r2(regressor.predictions(images), wanted)
    print(f"{'R²':<14}" + "".join(f"{name:>10}" for name in names))
    for name, values in rows.items():
        print(f"{name:<14}" + "".join(f"{value:>10.4f}" for value in values))
    seconds = {"model": model_seconds, "regressor": regressor_seconds}
    return {"what": "numbers read back", "n": len(wanted), "numbers": names, "r2": rows, "training_seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a diffusion run conditioned on numbers")
    parser.add_argument("--regressor", help="a regression run for the same numbers")
    parser.add_argument("--model_steps", type=int, default=9000)
    parser.add_argument("--regressor_steps", type=int, default=5000)
    parser.add_argument("--guidance", nargs="*", type=float, default=[1.0, 2.0])
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    report(measure(options), options.out)


if __name__ == "__main__":
    main()
