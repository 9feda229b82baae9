"""The task `ot_flow`: what it trains on, what it refuses, exact resume."""

from pathlib import Path

import pytest
import torch

from genmods import create
from genmods.cli import dispatch
from genmods.core import checkpoint as files
from genmods.core.errors import UserError
from genmods.diffusion import ClassLabels, DDPMSampler, EulerSampler, Unconditional
from genmods.models import Denoises
from genmods.restoration.operators import BoxMask
from genmods.restoration.restore import restore
from genmods.runs import folders
from genmods.runs.fit import fit
from support.small_runs import DIGITS, TRAINER, recipe
from support.small_tasks import diffusion

UNET = {"name": "unet", "width": 8, "multipliers": [1], "blocks": 1, "attention": []}
TASK = {"name": "ot_flow", "network": UNET, "process": "rectified", "prediction": "flow", "sampler": "unipc"}


class Recorder(torch.nn.Module):
    """A loss that keeps the noise."""

    def __init__(self, loss):
        super().__init__()
        self.loss = loss

    def forward(self, denoiser, x0, cond, eps, **settings):
        self.cond, self.eps = cond, eps
        return self.loss(denoiser, x0, cond, eps=eps, **settings)


def given(count=24):
    images = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return {"image": images, "label": torch.arange(count) % 3, "index": torch.arange(count)}


@pytest.mark.parametrize("conditioning", [ClassLabels(3, drop=0.7), Unconditional()], ids=["labels", "unconditional"])
def test_no_exchange_of_noise_within_a_condition_would_be_closer(conditioning):
    """Also of samples whose label is dropped; across conditions some would be."""
    task, classes = diffusion(task="ot_flow"), "label" in conditioning.names
    task.model.conditioning = conditioning
    task.log_mean = lambda *args, **kwargs: None
    task.loss = Recorder(task.loss)
    torch.manual_seed(3)
    batch = given()
    task.training_step(batch, 0)["loss"].backward()
    x, eps = batch["image"].flatten(1), task.loss.eps.flatten(1)
    cost = torch.cdist(x.double(), eps.double()).square()
    gain = cost.diag()[:, None] + cost.diag() - cost - cost.T  # of exchanging the noise of two samples
    same = batch["label"][:, None] == batch["label"] if classes else torch.ones(24, 24, dtype=torch.bool)
    assert gain[same].max() < 1e-9
    assert not classes or (gain[~same].max() > 1 and (task.loss.cond["label"] < 0).any())


def test_refusals():
    with pytest.raises(ValueError, match=r"ot_flow requires the conditioning .*, got MaskedImage"):
        diffusion(task="ot_flow", conditioning="masked_image", classes=0)
    for sampler in (DDPMSampler(4), EulerSampler(4, churn=1.0)):
        with pytest.raises(UserError, match=rf"requires one that adds no noise.*, got {type(sampler).__name__}"):
            diffusion(task="ot_flow", sampler=sampler)
    task = diffusion(task="ot_flow", weighting=create("weighting", "elbo"))
    model = task.model.eval()
    assert model.sample(3, sampler="heun", steps=2).shape == (3, 1, 8, 8)
    with pytest.raises(UserError, match="requires one that adds no noise"):
        model.sample(3, sampler="dpmpp_2m_sde")
    assert model.likelihood() is None and task.monitor is None and not isinstance(model, Denoises)
    with pytest.raises(UserError):
        restore(given()["image"], BoxMask(), model)


def test_a_stopped_run_continues_bit_for_bit(tmp_path, monkeypatch, capsys):
    """With accumulation; `generate` refuses a stochastic sampler, and `check` and `test` a restoration, in one line."""
    monkeypatch.chdir(tmp_path)
    slow = TRAINER | {"accumulate_grad_batches": 2}
    ends = []
    for name, stops in (("whole", [4]), ("stopped", [2, 4])):
        run = None
        for steps in stops:
            trainer = slow | {"max_steps": steps}
            run = fit(recipe(TASK, DIGITS, name=name, trainer=trainer), ckpt_path=run and str(run), quiet=True)
        ends.append(files.digest(files.load(run / "checkpoints" / "last.ckpt")["state_dict"]))
    assert ends[0] == ends[1]
    capsys.readouterr()
    assert folders.load(run).sample(2, steps=2).isfinite().all()
    command = ["generate", "--ckpt_path", str(run), "--n", "2", "--out", str(run / "out")]
    assert dispatch([*command, "--sampler", "ddpm", "--steps", "2"]) == 2
    error = capsys.readouterr().err
    assert "adds no noise" in error and error.count("\n") == 1
    text = "task: {name: restoration, operator: box, model: {from: %s}}\ndata: {name: digits, limit: 20}\n"
    Path("filled.yaml").write_text(text % run)
    told = "filled.yaml:1: task: restoration requires a diffusion model, got OTFlowModel\n"
    for words in (["check", "filled.yaml"], ["test", "--config", "filled.yaml", "--quiet"]):
        assert dispatch(words) == 2 and capsys.readouterr().err == told
    Path("filled.yaml").write_text(text % "runs/elsewhere")
    assert dispatch(["check", "filled.yaml"]) == 0
