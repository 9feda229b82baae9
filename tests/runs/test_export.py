import pytest
import torch

from genmods.config.recipe import from_plain
from genmods.core.errors import UserError
from genmods.runs import folders
from genmods.runs.checkpoint import Checkpoint
from genmods.runs.export.file import export
from genmods.runs.fit import build_task, fit
from genmods.runs.reuse import resolve

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
    checkpoint = Checkpoint.read(folders.find_checkpoint(run))
    images = torch.rand(3, 1, 8, 8) * 2 - 1
    for raw in (False, True):
        export(checkpoint, tmp_path / "model.safetensors", raw)
        model = folders.load(tmp_path / "model.safetensors")
        torch.testing.assert_close(model(images), folders.load(run, raw=raw)(images), rtol=0, atol=0)
        assert model.class_names == [str(k) for k in range(10)]
    export(Checkpoint.read(tmp_path / "model.safetensors"), tmp_path / "again.safetensors")
    later = from_plain(RECIPE | {"task": {"name": "classification", "network": {"from": "again.safetensors"}}})
    taken = build_task(resolve(later), checkpoint.data_info)
    torch.testing.assert_close(taken.model.network.state_dict(), model.network.state_dict(), rtol=0, atol=0)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"x" * 100)
    with pytest.raises(UserError, match="not a readable safetensors file"):
        folders.load(path)
