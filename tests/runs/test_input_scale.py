"""What a network sees of an image: pretrained weights in their own statistics, whole models in those of their run."""

import numpy as np
import pytest
import torch
from PIL import Image

from genmods.cli import dispatch
from genmods.networks.adapters.torchvision import TorchvisionNetwork
from genmods.runs import folders
from genmods.runs.fit import build_data, build_task, fit
from genmods.runs.reuse import resolve
from support.small_runs import DIFFUSION, classifier, recipe

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def pictures(root, low, high, side=8):
    """Two classes of random colours in low ... high, the blue half as bright."""
    random = np.random.default_rng(0)
    for name in ("one", "two"):
        (root / name).mkdir(parents=True)
        for i in range(6):
            pixels = random.integers(low, high, (side, side, 3)) * [1, 1, 0.5]
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{i}.png")
    return {"name": "image_folder", "root": str(root), "batch_size": 4}


def input_error(task):
    """How far what the network sees is from pixels normalised as ImageNet's are."""
    pixels = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    seen = task.network.prepare_input(task.normalized(pixels * 2 - 1))
    return float((seen - (pixels - MEAN) / STD).abs().max())


@pytest.mark.parametrize("of_file", [False, True])
def test_pretrained_weights_keep_their_statistics(workplace, tmp_path, monkeypatch, of_file):
    theirs = TorchvisionNetwork("squeezenet1_1", num_classes=1000).model.state_dict()
    monkeypatch.setattr("torchvision.models.WeightsEnum.get_state_dict", lambda *args, **kwargs: dict(theirs))
    network = {"name": "torchvision", "architecture": "squeezenet1_1"}
    torch.save(theirs, tmp_path / "imagenet.pth")
    network |= {"weights": str(tmp_path / "imagenet.pth")} if of_file else {"pretrained": True}
    dark, bright = pictures(tmp_path / "dark", 0, 60, 32), pictures(tmp_path / "bright", 180, 256, 32)
    first = fit(classifier(network, bright, name="pretrained_on_bright"), quiet=True)
    second = fit(classifier({"from": str(first)}, dark, name="then_on_dark"), quiet=True)
    third = fit(classifier({"from": str(second)}, bright, name="then_on_bright"), quiet=True)
    assert dispatch(["export", "--ckpt_path", str(third), "--out", str(tmp_path / "model.safetensors")]) == 0
    for place in (first, second, third, tmp_path / "model.safetensors"):
        assert input_error(folders.load(place)) <= 1e-6


def test_each_channel_is_normalised_by_its_own_statistics(workplace, tmp_path):
    data = pictures(tmp_path / "dark", 0, 60)
    made = classifier({"name": "cnn", "layers": ["conv 4"]}, data)
    module = build_data(made)
    task = build_task(made, module.info).model
    train = module.splits["train"]
    images = module.prepare(train.batch(torch.arange(len(train))))["image"]
    seen = task.normalized(images).transpose(0, 1).flatten(1)
    torch.testing.assert_close(seen.mean(1), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(seen.std(1, correction=0), torch.ones(3), atol=1e-5, rtol=0)
    assert module.info.mean[2] < module.info.mean[0]


def test_a_constant_channel_does_not_divide_by_zero(workplace, tmp_path):
    data = pictures(tmp_path / "red", 0, 200)
    for path in tmp_path.rglob("*.png"):
        pixels = np.array(Image.open(path)) * [1, 0, 0]
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    made = classifier({"name": "cnn", "layers": ["conv 4"]}, data)
    task = build_task(made, build_data(made).info).model
    assert task.normalized(torch.full((1, 3, 8, 8), -1.0)).isfinite().all()


@pytest.mark.parametrize("value", [0, 130])
def test_a_set_of_one_colour_is_refused_in_one_line(tmp_path, capsys, monkeypatch, value):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        (tmp_path / "x" / name).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (8, 8), (value, value, value)).save(tmp_path / "x" / name / f"{i}.png")
    assert dispatch(["fit", "--config", "folder/classify", "--data.root=x", "--data.image_size=8", "--quiet"]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert told[-1].endswith("all training images have the same single colour") and not (tmp_path / "runs").exists()


def test_a_whole_model_keeps_the_scale_of_its_data(workplace, tmp_path):
    dark, bright = pictures(tmp_path / "dark", 0, 60), pictures(tmp_path / "bright", 180, 256)
    unet = {"name": "unet", "width": 4, "multipliers": [1], "blocks": 1, "attention": []}
    run = fit(recipe({**DIFFUSION, "network": unet}, dark, name="dark"), quiet=True)
    task = {"name": "restoration", "model": {"from": str(run)}, "operator": "identity", "sigma": 25.0}
    made = recipe(task, bright)
    restoration = build_task(resolve(made), build_data(made).info)
    alone = folders.load(run)
    assert restoration.model.denoiser.sigma_data == alone.denoiser.sigma_data
    assert restoration.model.denoiser.sigma_data != pytest.approx(build_data(made).info.sigma_data, rel=0.1)
