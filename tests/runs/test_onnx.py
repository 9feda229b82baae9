"""ONNX files: the outputs of the models by ONNX Runtime, for other batches and sizes than those of the export."""

import json
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch

import genmods
from genmods.cli import dispatch
from genmods.config.build import build
from genmods.config.recipe import from_plain
from genmods.core.errors import UserError
from genmods.data.images import to_float
from genmods.data.info import DataInfo
from genmods.diffusion import noise_stream
from genmods.models import model_of
from genmods.runs.checkpoint import Checkpoint
from genmods.runs.export.graphs import graph_of, sampling_graph
from genmods.runs.export.onnx_file import export_onnx

runtime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
INFO = DataInfo((1, 8, 8), 3, (0.0,), (0.5,), 17, ["a", "b", "c"])
MLP = {"name": "mlp", "width": 8, "depth": 1}


def checkpoint_of(task):
    """A checkpoint of a task with random weights, none of which is zero."""
    plain = {"name": "x", "seed": 0, "task": task, "data": {"name": "digits"}}
    torch.manual_seed(0)
    weights = build(from_plain(plain).task, INFO.settings()).state_dict()
    return Checkpoint(plain, INFO, {k: v + 0.1 * torch.randn_like(v) if v.ndim else v for k, v in weights.items()})


def session_of(path):
    return runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def test_a_classifier_takes_pixels_and_any_batch(digits, tmp_path, capsys):
    path = tmp_path / "digits.onnx"
    assert dispatch(["export", "--ckpt_path", str(digits), "--out", str(path)]) == 0
    assert "largest difference from the model" in capsys.readouterr().err
    session, model = session_of(path), genmods.load(digits)
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["class_names"]) == model.class_names
    assert json.loads(about["meanings"])["pixels"] == "0 to 255"
    for n in (1, 5):
        pixels = torch.randint(256, (n, 1, 8, 8)).float()
        (found,) = session.run(["probabilities"], {"pixels": pixels.numpy()})
        want = model.probabilities(to_float(pixels, 256))
        torch.testing.assert_close(torch.from_numpy(found), want, rtol=0, atol=1e-4)


def test_one_graph_from_noise_to_images(tmp_path):
    sampler = {"name": "unipc", "steps": 3}
    task = {"name": "diffusion", "network": MLP, "process": "cosine", "prediction": "v", "sampler": sampler}
    checkpoint = checkpoint_of(task)
    difference = export_onnx(sampling_graph(checkpoint.model()), checkpoint, tmp_path / "sampler.onnx")
    assert difference <= 1e-4
    noise = noise_stream(3, torch.arange(5), (1, 8, 8)).initial()
    inputs = {"noise": noise.numpy(), "label": torch.tensor([0, 1, 2, 0, 1]).numpy()}
    (found,) = session_of(tmp_path / "sampler.onnx").run(["images"], inputs)
    want = checkpoint.model().sample(5, {"label": [0, 1, 2]}, seed=3)
    assert want.std() > 0.1
    torch.testing.assert_close(torch.from_numpy(found), want, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        {"sampler": {"name": "heun", "steps": 5}},
        {"sampler": {"name": "dpmpp_2m", "steps": 5}},
        {"process": "rectified", "prediction": "flow", "sampler": {"name": "flow_ode", "steps": 5, "method": "heun"}},
        {"process": {"name": "linear", "steps": 50}, "prediction": "eps", "sampler": {"name": "ddim", "steps": 5}},
    ],
)
def test_replayed_schedules_are_those_of_the_process(settings):
    base = {"name": "diffusion", "network": MLP, "process": "cosine", "prediction": "v"}
    checkpoint = checkpoint_of(base | settings)
    noise = noise_stream(3, torch.arange(3), (1, 8, 8)).initial()
    with torch.no_grad():
        found = sampling_graph(checkpoint.model()).module(noise, torch.arange(3))
    torch.testing.assert_close(found, checkpoint.model().sample(3, {"label": [0, 1, 2]}, seed=3), rtol=0, atol=1e-6)


def test_samplers_that_add_noise_are_refused_in_one_line():
    sampler = {"name": "ddpm", "steps": 4}
    task = {"name": "diffusion", "network": MLP, "process": "cosine", "prediction": "v", "sampler": sampler}
    with pytest.raises(UserError, match="adds noise in its steps; choose a deterministic one"):
        sampling_graph(checkpoint_of(task).model())


def test_what_makes_no_images_is_refused_in_one_line():
    task = {"name": "classification", "network": {"name": "cnn", "layers": ["conv 4", "avgpool"]}}
    with pytest.raises(UserError, match="a Classifier generates no images from noise"):
        sampling_graph(model_of(checkpoint_of(task).model()))


def test_a_file_that_differs_is_not_kept(tmp_path, monkeypatch):
    from genmods.runs.export import onnx_file

    def traced(graph):
        return SimpleNamespace(model=Mock(), save=lambda path: Path(path).write_bytes(b"x"))

    monkeypatch.setattr(onnx_file, "_traced", traced)
    monkeypatch.setattr(onnx_file, "_inputs", lambda *_: [{}])
    monkeypatch.setattr(onnx_file, "_difference", lambda *_: float("nan"))
    checkpoint = checkpoint_of({"name": "classification", "network": {"name": "cnn", "layers": ["conv 4", "avgpool"]}})
    with pytest.raises(UserError, match="not written, its output differs"):
        export_onnx(graph_of(checkpoint.model()), checkpoint, tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_told_in_one_line(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match="require the package onnxruntime: pip install 'genmods"):
        export_onnx(None, None, tmp_path / "a.onnx")
