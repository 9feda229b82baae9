"""A distribution that adds a task, a conditioning, a network and a data module of signals: every command works with it.

It is written against CONTRIBUTING alone, and nothing of genmods knows of it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genmods.cli import dispatch
from genmods.config import registry
from genmods.core import checkpoint as files
from genmods.tracking.series import read_series
from support.installing import install

RECIPE = """
seed: 3
task: {name: consistency_1d, network: convolutions_1d, conditioning: parameters}
data: {name: waves, count: 256, batch_size: 64}
optimizer: {name: adamw, lr: 5e-3}
trainer: {max_steps: 60, accelerator: cpu, precision: 32, log_every_n_steps: 10}
callbacks:
  - {name: ema, decays: [0.9]}
  - {name: sample_grid, n: 4, every: 8}
  - {name: evaluation, metrics: [{name: fid, bootstrap: 0}], n: 32, every: 8}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a finished run, in the working directory of the installed distribution."""
    folder = tmp_path_factory.mktemp("waves")
    install("waves", folder / "site")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder / "site"))
        patch.chdir(folder)
        registry._plugins.cache_clear()
        Path("waves.yaml").write_text(RECIPE)
        assert dispatch(["fit", "--config", "waves.yaml", "--quiet"]) == 0
        yield next((folder / "runs/waves").iterdir())
    registry._plugins.cache_clear()


def generate(run, out, *options):
    assert dispatch(["generate", "--ckpt_path", str(run), "--out", str(out), "--quiet", *options]) == 0
    with np.load(out / "samples.npz") as data:
        return {name: torch.from_numpy(data[name]) for name in data}


def test_the_parts_are_listed_shown_and_checked(run, capsys):
    for kind, name in (("task", "consistency_1d"), ("conditioning", "parameters"), ("data_module", "waves")):
        assert dispatch(["list", kind]) == 0 and dispatch(["show", kind, name]) == 0
    told = capsys.readouterr().out
    assert told.count("genmods-waves") >= 6 and "count: int = 512" in told
    assert dispatch(["check", "waves.yaml"]) == 0
    assert dispatch(["check", "waves.yaml", "--data.cuont=3"]) == 2
    assert "data.cuont" in capsys.readouterr().err


def test_a_fit_leaves_pictures_figures_averages_and_a_report(run):
    names = {path.name.split("_")[0] for path in (run / "samples").iterdir()}
    assert names == {"step", "raw"} and min(Image.open(next((run / "samples").iterdir())).size) > 40
    series = read_series(run / "metrics.csv")
    assert {"train/loss", "val/loss", "val/fid_32"} <= set(series)
    assert "step_" in (run / "report.html").read_text() or "data:image/png" in (run / "report.html").read_text()
    saved = files.load(run / "checkpoints/last.ckpt")
    assert saved["global_step"] == 60 and saved["ema"]["updates"] == 60


def test_samples_follow_the_condition_of_the_command_line(run, tmp_path):
    loud = generate(run, tmp_path / "loud", "--n", "16", "--condition", "amplitude=0.85", "--condition", "frequency=2")
    quiet = generate(
        run, tmp_path / "quiet", "--n", "16", "--condition", "amplitude=0.15", "--condition", "frequency=2"
    )
    assert loud["samples"].shape == (16, 1, 32) and loud["vector"].shape == (16, 2)
    assert loud["samples"].std() > 1.5 * quiet["samples"].std()
    mixed = generate(run, tmp_path / "mixed", "--n", "4", "--condition", "amplitude=[0.85, 0.15]")
    assert mixed["vector"][0].isnan().tolist() == [False, True]
    torch.testing.assert_close(mixed["vector"][:2, 0], mixed["vector"][2:, 0])
    assert Image.open(tmp_path / "mixed/00003.png").size == (32, 24)


def test_a_condition_that_the_model_does_not_know(run, tmp_path, capsys):
    command = ["generate", "--ckpt_path", str(run), "--out", str(tmp_path), "--condition", "amplitud=1"]
    assert dispatch(command) == 2
    assert "conditioned on amplitude, frequency; did you mean 'amplitude'?" in capsys.readouterr().err


def test_evaluate_and_test_take_the_signals(run, capsys):
    command = ["evaluate", "--ckpt_path", str(run), "--metrics", "fid,nearest", "--n", "32", "--features", "pixels"]
    assert dispatch([*command, "--quiet"]) == 0
    assert "fid_32" in capsys.readouterr().out
    assert dispatch(["test", "--config", "waves.yaml", "--ckpt_path", str(run), "--quiet"]) == 0
    assert "test/loss" in capsys.readouterr().out


def test_a_resumed_run_ends_in_the_same_weights(run):
    short = ["--trainer.max_steps=30", "--name=half"]
    assert dispatch(["fit", "--config", "waves.yaml", "--quiet", *short]) == 0
    half = next(Path("runs/half").iterdir())
    whole = ["fit", "--config", "waves.yaml", "--quiet", "--name=half", "--ckpt_path", str(half)]
    assert dispatch(whole) == 0
    one, other = (files.load(folder / "checkpoints/last.ckpt") for folder in (run, half))
    assert files.digest(one["state_dict"]) == files.digest(other["state_dict"])
    assert files.digest(one["ema"]) == files.digest(other["ema"])
