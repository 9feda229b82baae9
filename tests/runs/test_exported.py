import pytest
import torch

from genmods import checkpoint, earlier, exported, runs
from genmods.errors import UserError
from genmods.execution import fit
from genmods.recipe import From, from_plain

RECIPE = {
    "name": "tiny",
    "seed": 1,
    "task": {"name": "classification", "network": {"name": "cnn", "layers": ["conv 4", "avgpool"]}},
    "data": {"name": "digits", "limit": 200},
    "trainer": {"max_steps": 4, "enable_progress_bar": False},
    "callbacks": [{"name": "ema", "decays": [0.9]}],
}


def test_an_exported_model_is_the_trained_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = fit(from_plain(RECIPE), quiet=True)
    content = checkpoint.load(runs.find_checkpoint(run))
    images = torch.rand(3, 1, 8, 8) * 2 - 1
    for raw in (False, True):
        exported.write(content, tmp_path / "model.safetensors", raw)
        model = runs.load(tmp_path / "model.safetensors")
        torch.testing.assert_close(model(images), runs.load(run, raw=raw)(images), rtol=0, atol=0)
        assert model.class_names == [str(k) for k in range(10)]
    exported.write(runs.read(tmp_path / "model.safetensors"), tmp_path / "again.safetensors")
    taken = earlier.inject(content["facts"], From("network", str(tmp_path / "again.safetensors"), "", "task.network"))
    torch.testing.assert_close(taken.state_dict(), model.network.state_dict(), rtol=0, atol=0)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"x" * 100)
    with pytest.raises(UserError, match="not a readable safetensors file"):
        runs.load(path)
