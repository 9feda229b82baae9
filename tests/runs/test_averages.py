"""Averages of a run whose length is chosen after training: snapshots, continued runs, and `generate --ema`."""

import pytest
import torch

from genmods.cli import dispatch
from genmods.core.errors import UserError
from genmods.runs.averages import average, averaged
from genmods.runs.checkpoint import Checkpoint
from genmods.runs.fit import fit
from genmods.runs.folders import find_checkpoint
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
    size = sum(path.stat().st_size for path in (whole / "snapshots").iterdir()) / 1e6
    assert f"average of length 0.07 from 4 snapshots ({size:.1f} MB), relative error" in capsys.readouterr().err
    assert dispatch([*command, "0.5"]) == 2
    assert capsys.readouterr().err.strip() == "--ema: length must lie in (0, 0.28], got 0.5"
    with pytest.raises(UserError, match="no snapshots of averages; train with the callback power_ema"):
        average(whole / "checkpoints", 0.07)
    seeded = fit(recipe(small, name="seeded", overrides=["--seed=2"], trainer=TRAINER | {"max_steps": 1}), quiet=True)
    averages_of_several(whole, seeded, one, capsys)


def averages_of_several(whole, other, one, capsys):
    """The command `average`: the mean of two runs, also of their averages of a length, as a file that is a model."""
    soup, long = whole / "soup.safetensors", whole / "long.safetensors"
    assert dispatch(["average", str(whole), str(other), "--out", str(soup)]) == 0
    first, second = (Checkpoint.read(find_checkpoint(run)).weights() for run in (whole, other))
    mean = {name: (first[name].double() + second[name].double()) / 2 for name in first}
    found = Checkpoint.read(soup).weights()
    assert all(torch.allclose(found[name].double(), value, atol=1e-7) for name, value in mean.items())
    assert any(not torch.equal(found[name], value) for name, value in first.items())
    assert dispatch(["average", str(whole), "--ema", "0.07", "--out", str(long)]) == 0
    assert all(torch.equal(Checkpoint.read(long).weights()[name], value) for name, value in one.weights.items())
    assert dispatch(["generate", "--ckpt_path", str(soup), "--n", "1", "--steps", "2", "--out", str(whole / "o")]) == 0
    wide = fit(recipe(DIFFUSION, name="wide", trainer=TRAINER | {"max_steps": 1}), quiet=True)
    capsys.readouterr()
    for words, line in (
        ([str(whole), str(wide)], "the weights model.denoiser.network"),
        ([str(whole)], "average needs several runs, or one run and --ema"),
        ([str(whole), "--ema", "0.5"], "--ema: length must lie in (0, 0.28], got 0.5"),
    ):
        assert dispatch(["average", *words, "--out", str(whole / "none.safetensors")]) == 2
        assert line in (told := capsys.readouterr().err.strip()) and "\n" not in told
    assert not (whole / "none.safetensors").exists()
