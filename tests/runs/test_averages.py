"""Averages of a run whose length is chosen after training: snapshots, continued runs, and `generate --ema`."""

import pytest
import torch

from genmods.cli import dispatch
from genmods.core.errors import UserError
from genmods.runs.averages import average, averaged
from genmods.runs.fit import fit
from support.small_runs import DIFFUSION, TRAINER, recipe

pytestmark = pytest.mark.usefixtures("workplace")


def test_from_a_run_to_its_samples(capsys):
    """A stopped and continued run has the snapshots of an uninterrupted one; `generate --ema` takes any length."""
    small = DIFFUSION | {"network": {"name": "unet", "width": 8, "multipliers": [1], "blocks": 1}}
    parts = {"callbacks": [{"name": "power_ema", "snapshots": 2}, "ema"]}

    def run(name, steps, **settings):
        return fit(recipe(small, name=name, trainer=TRAINER | {"max_steps": steps}, **parts), quiet=True, **settings)

    whole, half = run("whole", 4), run("half", 2)
    run("half", 4, ckpt_path=str(half))
    (checkpoint, one), (_, other) = averaged(whole, 0.07), averaged(half, 0.07)
    assert {path.name for path in (whole / "snapshots").iterdir()} == {"2.safetensors", "4.safetensors"}
    assert all(torch.allclose(one.weights[name], other.weights[name]) for name in one.weights)
    assert checkpoint.averages.keys() == one.weights.keys() and set(one.weights) <= set(checkpoint.state_dict)
    command = ["generate", "--ckpt_path", str(whole), "--n", "1", "--steps", "2", "--out", str(whole / "out"), "--ema"]
    capsys.readouterr()
    assert dispatch([*command, "0.07"]) == 0
    assert "average of length 0.07 from 4 snapshots, relative error" in capsys.readouterr().err
    assert dispatch([*command, "0.5"]) == 2
    assert capsys.readouterr().err.strip() == "--ema: length must lie in (0, 0.28], got 0.5"
    with pytest.raises(UserError, match="no snapshots of averages; train with the callback power_ema"):
        average(whole / "checkpoints", 0.07)
