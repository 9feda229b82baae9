"""Exports under the names of timm and as pipelines of diffusers, loaded by these libraries."""

import json

import pytest
import torch

from genmods.config.build import build
from genmods.config.recipe import from_plain
from genmods.core.errors import UserError
from genmods.data.info import DataInfo
from genmods.diffusion import DDIMSampler, noise_stream
from genmods.runs.checkpoint import Checkpoint
from genmods.runs.export.diffusers_folder import export_diffusers
from genmods.runs.export.timm_file import export_timm

INFO = DataInfo((1, 8, 8), 0, (0.0,), (0.5,), 256, [])
CLASSES = DataInfo((3, 32, 32), 3, (0.1,), (0.5,), 256, ["a", "b", "c"])
UNET = {"name": "diffusers", "channels": [8], "attention": [], "blocks": 1}
DIFFUSION = {"name": "diffusion", "network": UNET, "process": {"name": "linear", "steps": 1000}, "prediction": "eps"}


def checkpoint_of(task, info):
    plain = {"name": "x", "seed": 0, "task": task, "data": {"name": "digits"}}
    torch.manual_seed(0)
    return Checkpoint(plain, info, build(from_plain(plain).task, info.settings()).state_dict())


def test_weights_of_timm_have_its_names(tmp_path):
    timm = pytest.importorskip("timm")
    from safetensors import safe_open

    checkpoint = checkpoint_of(
        {"name": "classification", "network": {"name": "timm", "architecture": "test_resnet"}}, CLASSES
    )
    export_timm(checkpoint, tmp_path / "model.safetensors")
    path = str(tmp_path / "model.safetensors")
    theirs = timm.create_model("test_resnet", num_classes=3, checkpoint_path=path).eval()
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
    images = torch.rand(2, 3, 32, 32)
    mean, std = (torch.tensor(json.loads(about[name])).view(1, -1, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        found, want = theirs((images - mean) / std), checkpoint.model()(2 * images - 1)
    torch.testing.assert_close(found, want, rtol=0, atol=1e-5)
    assert about["architecture"] == "test_resnet" and json.loads(about["class_names"]) == ["a", "b", "c"]


def test_weights_of_another_network_are_refused(tmp_path):
    pytest.importorskip("timm")
    checkpoint = checkpoint_of({"name": "classification", "network": {"name": "cnn", "layers": ["avgpool"]}}, CLASSES)
    with pytest.raises(UserError, match="only the network timm has weights under timm's names, got CNN"):
        export_timm(checkpoint, tmp_path / "model.safetensors")


@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
def test_a_pipeline_of_diffusers_gives_the_same_samples(prediction, tmp_path):
    diffusers = pytest.importorskip("diffusers")
    model = checkpoint_of(DIFFUSION | {"prediction": prediction}, INFO).model()
    export_diffusers(model, tmp_path / "pipeline")
    noise = noise_stream(5, torch.arange(2), (1, 8, 8))
    want = DDIMSampler(steps=5).sample(model.unconditional(2), noise)
    theirs = diffusers.DDIMPipeline.from_pretrained(tmp_path / "pipeline")
    assert diffusers.DDPMPipeline.from_pretrained(tmp_path / "pipeline").scheduler.config.clip_sample is False
    theirs.scheduler.set_timesteps(5)
    x = noise.initial()
    with torch.no_grad():
        for t in theirs.scheduler.timesteps:
            x = theirs.scheduler.step(theirs.unet(x, t).sample, t, x, eta=0.0).prev_sample
    torch.testing.assert_close(x, want, rtol=0, atol=1e-4 * max(1.0, want.abs().max().item()))


@pytest.mark.parametrize(
    ("settings", "info", "message"),
    [
        ({"network": {"name": "unet", "width": 4, "multipliers": [1], "blocks": 1}}, INFO, "its network is a UNet"),
        ({}, DataInfo((1, 8, 8), 3, (0.0,), (0.5,), 256, ["a", "b", "c"]), "it is conditional"),
        ({"process": "linear"}, INFO, "its process is continuous; set the steps"),
        (
            {"process": {"name": "linear", "steps": 100}},
            INFO,
            "has 100 steps, the table of its network 1000",
        ),
        ({"process": {"name": "cosine", "steps": 1000}}, INFO, "not those of its network's betas"),
        ({"prediction": "karras"}, INFO, "its prediction is a KarrasPrediction"),
    ],
)
def test_other_models_are_refused_with_the_reason(settings, info, message, tmp_path):
    pytest.importorskip("diffusers")
    with pytest.raises(UserError, match=f"no pipeline of diffusers describes this model: .*{message}"):
        export_diffusers(checkpoint_of(DIFFUSION | settings, info).model(), tmp_path / "pipeline")
    assert not (tmp_path / "pipeline").exists()
