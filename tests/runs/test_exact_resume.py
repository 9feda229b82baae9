"""A run that is killed and continued ends in the weights of one that was not, bit for bit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from genmods import checkpoint as files

CLASSIFICATION = """
name: digits_cnn
seed: 3
task: {name: classification, network: {name: cnn, layers: ["conv 8", "pool 2", "dropout 0.3", "linear 16"]}}
data: {name: digits, batch_size: 100, augment: [shift, flip]}
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


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "genmods", "fit", "--config", "recipe.yaml", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        command(folder, *arguments), cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True
    )


def train(folder: Path, *arguments: str) -> None:
    process = start(folder, *arguments)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


def only_run(folder: Path) -> Path:
    (run,) = (folder / "runs").glob("*/*")
    return run


def weights(folder: Path) -> tuple[str, str]:
    checkpoint = files.load(only_run(folder) / "checkpoints" / "last.ckpt")
    assert checkpoint["global_step"] == 34
    return files.digest(checkpoint["state_dict"]), files.digest(checkpoint["ema"]["weights"])


def wait_for_checkpoint(folder: Path, process: subprocess.Popen, step: int) -> None:
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        for path in folder.glob("runs/*/*/checkpoints/last.ckpt"):
            if files.load(path)["global_step"] >= step:
                return
        time.sleep(0.02)
    raise AssertionError("no checkpoint in time")


@pytest.fixture(params=sorted(RECIPES))
def recipe(request, tmp_path):
    def write(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "recipe.yaml").write_text(RECIPES[request.param])
        return folder

    return write


def test_killed_and_resumed_is_uninterrupted(recipe):
    whole, killed = recipe("whole"), recipe("killed")
    train(whole)
    process = start(killed)
    wait_for_checkpoint(killed, process, 4)
    process.kill()
    process.communicate()
    train(killed, "--ckpt_path", "last")
    assert weights(killed) == weights(whole)


def test_stopped_by_sigterm_saves_and_says_so(recipe):
    whole, stopped = recipe("whole"), recipe("stopped")
    train(whole)
    process = start(stopped)
    wait_for_checkpoint(stopped, process, 4)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=100)
    assert process.returncode == 143
    train(stopped, "--ckpt_path", "last")
    assert weights(stopped) == weights(whole)


def test_the_saved_recipe_gives_the_same_run_and_workers_change_nothing(recipe):
    first, again = recipe("first"), recipe("again")
    train(first)
    saved = (only_run(first) / "recipe.yaml").read_text()
    (again / "recipe.yaml").write_text(saved)
    train(again, "--data.num_workers=2")
    assert (only_run(again) / "recipe.yaml").read_text() == saved.replace("num_workers: 0", "num_workers: 2")
    assert weights(again) == weights(first)
