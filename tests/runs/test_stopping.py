"""A loss that is not finite stops the run and keeps what was good; two processes train one run."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from genmods.cli import dispatch
from genmods.core import checkpoint as files

PARTS = '''
import torch
from genmods import register
from genmods.core.settings import Classes, DataChannels, DataSize
from genmods.networks.base import Network


@register("network", "exploding")
class Exploding(Network):
    """A linear classifier whose output is NaN from its `at`-th training batch on."""

    def __init__(self, at: int = 6, in_channels: DataChannels = 1, image_size: DataSize = 8, num_classes: Classes = 10):
        super().__init__()
        self.head = torch.nn.Linear(in_channels * image_size**2, num_classes)
        self.at, self.seen = at, 0

    def forward(self, x):
        self.seen += self.training and x.device.type != "meta"
        return self.head(x.flatten(1)) * (float("nan") if self.seen >= self.at else 1.0)
'''
RECIPE = """
seed: 1
task: {name: classification, network: exploding}
data: {name: digits, batch_size: 100}
trainer: {max_steps: 20, enable_progress_bar: false}
callbacks: [{name: checkpoint, every_n_steps: 2}]
"""


def genmods(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """A command in a process started for it, for what a process alone shows: its own parts, a traceback, two ranks."""
    return subprocess.run(
        [sys.executable, "-m", "genmods", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_loss_that_is_nan_stops_the_run_and_overwrites_nothing(tmp_path):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "parts.py").write_text(PARTS)
    done = genmods(tmp_path, "fit", "--config", "recipe.yaml", "--import", "parts.py")
    assert done.returncode == 2
    message = done.stderr.strip().splitlines()[-1]
    assert "step 6" in message and "not finite" in message
    assert "Traceback" not in done.stderr
    (last,) = tmp_path.glob("runs/recipe/*/checkpoints/last.ckpt")
    saved = files.load(last)
    assert saved["global_step"] == 4
    assert all(torch.isfinite(tensor).all() for tensor in saved["state_dict"].values())


def test_a_network_that_does_not_fit_its_task_is_refused_before_training(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(RECIPE.replace("network: exploding", "network: unet"))
    assert dispatch(["fit", "--config", "recipe.yaml"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "UNet does not fit this task" in line


def test_two_processes_train_one_run(tmp_path):
    recipe = RECIPE.replace("network: exploding", "network: {name: cnn, layers: ['conv 8', 'avgpool']}")
    (tmp_path / "recipe.yaml").write_text(recipe)
    arguments = ["--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.accelerator=cpu"]
    done = genmods(tmp_path, "fit", "--config", "recipe.yaml", *arguments)
    assert done.returncode == 0, done.stderr
    (run,) = tmp_path.glob("runs/recipe/*")
    assert files.load(run / "checkpoints" / "last.ckpt")["global_step"] == 20
    rows = (run / "metrics.csv").read_text().splitlines()
    assert "val/acc" in rows[0]


def test_a_missing_run_to_continue_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(RECIPE.replace("exploding", "cnn"))
    assert dispatch(["fit", "--config", "recipe.yaml", "--ckpt_path", "last"]) == 2
    assert capsys.readouterr().err.strip().splitlines() == ["no run of 'recipe' with a checkpoint below runs/recipe"]


def test_predictions_and_figures_of_a_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(RECIPE.replace("exploding", "{name: cnn, layers: ['conv 8', 'avgpool']}"))
    assert dispatch(["fit", "--config", "recipe.yaml", "--quiet"]) == 0
    capsys.readouterr()
    assert dispatch(["test", "--config", "recipe.yaml", "--quiet"]) == 0
    tested = capsys.readouterr().out
    assert "test/acc" in tested and tested.count("\n") >= 12
    assert dispatch(["predict", "--config", "recipe.yaml", "--quiet"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0] == "image,class,probability," + ",".join(map(str, range(10)))
    assert len(lines) == 181
