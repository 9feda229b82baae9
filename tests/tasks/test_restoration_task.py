"""Restoration of a test set through Lightning: what is scored, and that two processes find what one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from genmods.config.recipe import load
from genmods.config.shipped import shipped
from genmods.diffusion import CosineProcess
from genmods.diffusion.conditioning import Unconditional
from genmods.diffusion.latents import LatentSpace
from genmods.restoration.gaussian import Gaussian
from genmods.restoration.methods.mmps import MMPS
from genmods.restoration.operators import BoxMask, Identity
from genmods.runs.evaluate import evaluate
from genmods.runs.fit import fit
from genmods.tasks.restoration import RestorationTask

PRIOR = """
seed: 1
task: {name: diffusion, network: {name: unet, width: 8, multipliers: [1], blocks: 1}, process: cosine, prediction: v}
data: {name: digits, limit: 16, batch_size: 8}
trainer: {max_steps: 2, enable_progress_bar: false, accelerator: cpu}
"""


class Model(torch.nn.Module):
    """White Gaussian images, as a trained diffusion task."""

    image_shape, dtype = (1, 8, 8), None

    def __init__(self):
        super().__init__()
        self.conditioning, self.latents, self.process = Unconditional(), LatentSpace(), CosineProcess()
        self.gaussian = Gaussian(torch.zeros(1, 8, 8).double(), 0.1 * torch.eye(64).double())

    def diffusion_model(self):
        return self

    def denoise(self, cond):
        return self.gaussian.denoise(self.process)


def images(n=64):
    return (0.1**0.5 * torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(0))).clamp(-1, 1)


def test_denoising_is_one_call_at_the_noise_level():
    x, task = images(), RestorationTask(Model(), Identity(), sigma=51)
    restored = task.restored(task.degrade(x, torch.arange(64)), torch.arange(64), None)
    error = (restored - x).square().mean().item()
    assert error == pytest.approx(0.1 * 0.16 / 0.26, rel=0.05)  # the posterior's variance, for σ² = 0.4²


def test_a_mask_is_filled_and_the_rest_is_left():
    x, task = images(), RestorationTask(Model(), BoxMask(), samples=2)
    restored = task.restored(task.degrade(x, torch.arange(64)), torch.arange(64), None)
    known = BoxMask().known(x).expand_as(x)
    assert torch.equal(restored[known], x[known]) and not torch.equal(restored[~known], x[~known])


@pytest.mark.parametrize("settings", [{"sigma": -1.0}, {"samples": 0}, {"steps": 0}, {}])
def test_settings_that_restore_nothing_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings), "sigma")):
        RestorationTask(Model(), Identity(), **settings)


def test_a_method_may_set_its_steps():
    with pytest.raises(ValueError, match="steps must not be set if a method is given, got 5"):
        RestorationTask(Model(), BoxMask(), method=MMPS(steps=7), steps=5)


@pytest.mark.skipif(os.name != "posix", reason="starts two processes with gloo")
def test_two_processes_find_what_one_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("prior.yaml").write_text(PRIOR)
    run = fit(load(Path("prior.yaml")), quiet=True)
    recipe = shipped()["inpaint"]
    settings = [f"--task.model.from={run}", "--data.limit=14", "--data.batch_size=4", "--trainer.accelerator=cpu"]
    settings += ["--task.samples=2", "--task.steps=3"]
    alone = evaluate(load(recipe, settings), "test", None, quiet=True).found
    command = [sys.executable, "-m", "genmods", "test", "--config", str(recipe), *settings]
    command += ["--trainer.devices=2", "--trainer.strategy=ddp"]
    before = set(Path("runs").rglob("test.json"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    (found,) = set(Path("runs").rglob("test.json")) - before
    together = json.loads(found.read_text())["figures"]
    assert together == pytest.approx(alone, rel=1e-4)
