"""Runs for the attacks: recipes that take a second, and trained once in a session what all cases need."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from genmods.core import checkpoint as files
from genmods.tracking.series import read_metrics
from support.torture import Command

STEPS = 20
CLASSIFIER = """
name: c
seed: 3
task: {name: classification, network: {name: cnn, layers: ["conv 4", "pool 2", "dropout 0.3", "linear 8"]}}
data: {name: digits, batch_size: 40, limit: 160, augment: [translate, flip]}
schedule: {name: cosine, warmup: 3}
trainer: {max_steps: 20, enable_progress_bar: false, log_every_n_steps: 3, val_check_interval: 7, accelerator: cpu}
callbacks: [{name: finite}, {name: ema, decays: [0.9]}, {name: checkpoint, every_n_steps: 4, keep: 1}]
logger: csv
"""
DIFFUSION = """
name: d
seed: 3
task:
  name: diffusion
  network: {name: unet, width: 8, multipliers: [1], blocks: 1, attention: [], dropout: 0.1}
  process: cosine
  prediction: v
  sampler: {name: ddim, steps: 2}
data: {name: synthetic, side: 8, channels: 1, classes: 3, train_images: 90, batch_size: 15}
trainer: {max_steps: 20, enable_progress_bar: false, log_every_n_steps: 3, accumulate_grad_batches: 2, accelerator: cpu}
callbacks:
  - {name: finite}
  - {name: ema, decays: [0.9, 0.99]}
  - {name: checkpoint, every_n_steps: 4, keep: 1}
  - {name: loss_by_noise, bins: 3}
logger: csv
"""
RECIPES = {"c": CLASSIFIER, "d": DIFFUSION}
_TIMED = ("images_per_s", "memory_gb")


@cache
def trained(name: str, *more: str) -> Path:
    """The folder in which the recipe `name` was trained to its end, with a `run` in it."""
    folder = Path(tempfile.mkdtemp(prefix="torture_run"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    done = fit(name, folder, *more).wait()
    assert done.status == 0, done.err
    run_of(folder).rename(folder / "run")
    shutil.rmtree(folder / "runs")
    return folder


def fit(name: str, folder: Path, *more: str, prepare=None) -> Command:
    """The training of a recipe in `folder`."""
    (folder / "recipe.yaml").write_text(RECIPES[name])
    return Command(["fit", "--config", "recipe.yaml", "--quiet", *more], folder, prepare)


def run_of(folder: Path) -> Path:
    """The only run in a folder."""
    (run,) = [path for path in (folder / "runs").glob("*/*") if path.is_dir()]
    return run


def outcome(run: Path) -> tuple[str, str, str]:
    """Hashes of a run's weights and averages, of its optimizer, and its metrics without those that measure time."""
    content = files.load(run / "checkpoints" / "last.ckpt")
    rows = [
        {key: value for key, value in row.items() if not key.endswith(_TIMED)}
        for row in read_metrics(run / "metrics.csv")
    ]
    weights = [content["state_dict"], content.get("ema", {}).get("weights")]
    return files.digest(weights), files.digest(content["optimizer_states"]), files.digest(rows)


def left_over(run: Path) -> str:
    """A fault of the files of a run that nobody writes to: a part of a file, a checkpoint that cannot be read."""
    if parts := [path.name for path in run.rglob(".*.part")]:
        return f"left over: {parts[0]}"
    for path in run.rglob("*.ckpt"):
        files.load(path)
    return ""
