"""A run that is killed and continued ends in the weights of one that was not, bit for bit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from genmods.cli import dispatch
from genmods.core import checkpoint as files

CLASSIFICATION = """
name: digits_cnn
seed: 3
task: {name: classification, network: {name: cnn, layers: ["conv 8", "pool 2", "dropout 0.3", "linear 16"]}}
data: {name: digits, batch_size: 100, augment: [translate, flip]}
optimizer: {name: adamw, lr: 1e-3}
schedule: {name: cosine, warmup: 3}
trainer: {max_steps: 34, enable_progress_bar: false, log_every_n_steps: 5}
callbacks: [{name: ema, decays: [0.9]}, {name: checkpoint, every_n_steps: 4}]
"""
DIFFUSION = """
name: digits_ddpm
seed: 3
task:
  name: diffusion
  network: {name: unet, width: 8, multipliers: [1, 2], blocks: 1, attention: [], dropout: 0.1}
  process: cosine
  prediction: v
data: {name: digits, batch_size: 100}
optimizer: {name: adamw, lr: 1e-3}
trainer: {max_steps: 34, enable_progress_bar: false, log_every_n_steps: 5}
callbacks: [{name: ema, decays: [0.9, 0.99]}, {name: checkpoint, every_n_steps: 4}]
"""
RECIPES = {"classification": CLASSIFICATION, "diffusion": DIFFUSION}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """The results that are bit-identical here and in a separate process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def train(folder: Path, *arguments: str) -> None:
    """`fit` in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert dispatch(["fit", "--config", "recipe.yaml", "--quiet", *arguments]) == 0


def start(folder: Path) -> subprocess.Popen:
    """`fit` in a separate process, to be stopped."""
    command = [sys.executable, "-m", "genmods", "fit", "--config", "recipe.yaml"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def only_run(folder: Path) -> Path:
    (run,) = (folder / "runs").glob("*/*")
    return run


def weights(folder: Path) -> tuple[str, str]:
    checkpoint = files.load(only_run(folder) / "checkpoints" / "last.ckpt")
    assert checkpoint["global_step"] == 34
    return files.digest(checkpoint["state_dict"]), files.digest(checkpoint["ema"]["weights"])


def wait_for_checkpoint(folder: Path, process: subprocess.Popen, step: int) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        for path in folder.glob("runs/*/*/checkpoints/last.ckpt"):
            if files.load(path)["global_step"] >= step:
                return
        time.sleep(0.02)
    raise AssertionError("no checkpoint in time")


@pytest.fixture(scope="module", params=sorted(RECIPES))
def whole(request, tmp_path_factory):
    """The folder of a run that was never interrupted."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "recipe.yaml").write_text(RECIPES[request.param])
    train(folder)
    return folder


@pytest.fixture
def other(whole, tmp_path):
    """A folder for the same run."""
    (tmp_path / "recipe.yaml").write_text((whole / "recipe.yaml").read_text())
    return tmp_path


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 143)])
def test_stopped_and_continued_is_uninterrupted(whole, other, number, status):
    process = start(other)
    wait_for_checkpoint(other, process, 4)
    process.send_signal(number)
    _, told = process.communicate(timeout=300)
    assert process.returncode == status
    well = number == signal.SIGTERM
    assert (only_run(other) / "timing.json").is_file() == ("--ckpt_path runs/" in told) == well
    assert files.load(only_run(other) / "checkpoints" / "last.ckpt")["global_step"] < 34
    train(other, "--ckpt_path", "last")
    assert weights(other) == weights(whole)


def test_the_saved_recipe_gives_the_same_run_and_workers_change_nothing(whole, other):
    saved = (only_run(whole) / "recipe.yaml").read_text()
    (other / "recipe.yaml").write_text(saved)
    train(other, "--data.num_workers=2")
    assert (only_run(other) / "recipe.yaml").read_text() == saved.replace("num_workers: 0", "num_workers: 2")
    assert weights(other) == weights(whole)
