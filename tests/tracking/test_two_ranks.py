"""Two gloo ranks: one W&B run, one metrics file, grids made by both ranks, no hang."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageChops

from support.toys import history, run_files

sys.path.append(str(Path(__file__).parents[1] / "callbacks"))
from test_pictures import diffusion

from genmods.tracking.series import read_series
from genmods.visual.picture import to_picture

SCRIPT = """
import sys
from pathlib import Path

sys.path[:0] = sys.argv[2:]
import torch
from lightning.pytorch import Trainer
from test_pictures import diffusion
from support.toys import *

from genmods.callbacks.ema import EMA
from genmods.callbacks.loss_by_noise import LossByNoise
from genmods.callbacks.norms import Norms
from genmods.callbacks.sample_grid import SampleGrid
from genmods.callbacks.strips import DiffusionStrip
from genmods.callbacks.throughput import Throughput
from genmods.data.module import ImageData
from genmods.data.sources.digits import Digits
from genmods.callbacks.report import Report
from genmods.tracking.csv import MetricsFile
from genmods.tracking.wandb import WandbRun

folder = Path(sys.argv[1])
loggers = [MetricsFile(), WandbRun(mode="offline")]
for logger in loggers:
    logger.begin(folder, {"seed": 1})
ema, task = EMA((0.5,)), diffusion()
sample = task.model.sample


def told(n, seed, first=0):
    with open(folder / f"made_by_{task.global_rank}", "a") as file:
        file.write(f"{first} {n}\\n")
    return sample(n, seed=seed, first=first)


task.model.sample = told
callbacks = [ema, Norms(), Throughput(), SampleGrid(n=6), DiffusionStrip(), LossByNoise(), Report()]
trainer(folder, loggers, 4, callbacks, devices=2, strategy="ddp", use_distributed_sampler=False).fit(
    task, ImageData(Digits(), batch_size=32, limit=256)
)
for logger in loggers:
    logger.close()
if task.global_rank == 0:
    torch.save({**task.state_dict(), **ema.shadows[0]}, folder / "average.pt")
"""


@pytest.mark.skipif(os.name != "posix", reason="starts two processes with gloo")
def test_two_ranks_write_one_run(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    here = Path(__file__).parents[1]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB_", "SLURM_"))}
    environment |= {"OMP_NUM_THREADS": "1", "NETRC": str(tmp_path / "none")}
    command = [sys.executable, str(script), str(tmp_path / "run"), str(here), str(here / "callbacks")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-3000:]
    (path,) = run_files(tmp_path / "run")
    assert [row["_step"] for row in history(path) if "train/loss" in row] == [1, 3]
    series = read_series(tmp_path / "run" / "metrics.csv")
    assert [step for step, _ in series["train/grad_norm"]] == [1, 3]
    assert [(tmp_path / "run" / f"made_by_{rank}").read_text().split("\n")[0] for rank in (0, 1)] == ["0 3", "3 3"]
    assert (tmp_path / "run" / "report.html").is_file()
    task = diffusion()
    task.load_state_dict(torch.load(tmp_path / "run" / "average.pt"))
    alone = to_picture(task.eval().model.sample(6, seed=0), columns=2)
    grid = Image.open(tmp_path / "run" / "samples" / "step_000004.png")
    assert ImageChops.difference(grid, alone).getextrema() <= ((0, 2),) * 3
