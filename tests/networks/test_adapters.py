import sys

import pytest
import torch
from torch import nn

from genmods.config.build import build
from genmods.config.recipe import from_plain
from genmods.core.errors import UserError
from genmods.data.info import DataInfo
from genmods.networks import TimmNetwork, TorchvisionNetwork, freeze
from genmods.networks.adapters.classifier import adapt_channels
from genmods.runs.checkpoint import Checkpoint

TORCHVISION = {
    "alexnet": 64,
    "convnext_tiny": 32,
    "densenet121": 32,
    "efficientnet_b0": 32,
    "googlenet": 64,
    "mnasnet0_5": 32,
    "mobilenet_v3_small": 32,
    "regnet_y_400mf": 32,
    "resnet18": 32,
    "shufflenet_v2_x0_5": 32,
    "squeezenet1_1": 32,
}
TIMM = {
    "convnext_atto": 32,
    "efficientnet_lite0": 32,
    "ghostnet_050": 32,
    "lcnet_050": 32,
    "mobilenetv3_small_050": 32,
    "regnetx_002": 32,
    "resnet10t": 32,
    "resnet18": 32,
    "test_vit": 160,
    "tf_efficientnetv2_b0": 32,
    "tiny_vit_5m_224": 224,
}


def reference(library, name, in_channels, num_classes):
    if library is TimmNetwork:
        import timm

        return timm.create_model(name, in_chans=in_channels, num_classes=num_classes)
    from torchvision import models

    extra = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    return models.get_model(name, num_classes=num_classes, **extra)


CASES = [(TorchvisionNetwork, *case) for case in TORCHVISION.items()] + [(TimmNetwork, *case) for case in TIMM.items()]


@pytest.mark.parametrize(("library", "name", "size"), CASES)
def test_ten_architectures_each_agree_with_their_library(library, name, size, tmp_path):
    torch.manual_seed(0)
    network = library(name, in_channels=3, num_classes=7)
    x = torch.rand(4, 3, size, size) * 2 - 1
    parameters = [p.detach().clone() for p in network.parameters()]
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4)
    nn.functional.cross_entropy(network(x), torch.tensor([0, 3, 6, 1])).backward()
    optimizer.step()
    assert any(not torch.equal(p, q) for p, q in zip(parameters, network.parameters(), strict=True))

    torch.save(network.state_dict(), tmp_path / "weights.pt")
    loaded = library(name, in_channels=3, num_classes=7)
    loaded.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    theirs = reference(library, name, 3, 7)
    theirs.load_state_dict(network.model.state_dict())
    with torch.no_grad():
        logits = network.eval()(x)
        torch.testing.assert_close(theirs.eval()(x), logits, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(loaded.eval()(x), logits, atol=0, rtol=0)
        features = network.features(x)
    assert logits.shape == (4, 7) and features.ndim == 2 and len(features) == 4


@pytest.mark.parametrize("library", [TorchvisionNetwork, TimmNetwork])
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_channels_and_size(library, channels):
    network = library("resnet18", in_channels=channels, num_classes=5, resize=40).eval()
    x = torch.randn(2, channels, 12, 12)
    with torch.no_grad():
        assert network(x).shape == (2, 5)
        torch.testing.assert_close(network.model.fc(network.features(x)), network(x))


def test_grey_filters_answer_a_grey_image_as_colour_filters_do():
    weight, gray = torch.randn(4, 3, 3, 3), torch.randn(1, 1, 8, 8)
    expected = nn.functional.conv2d(gray.repeat(1, 3, 1, 1), weight)
    for channels in (1, 3, 4):
        actual = nn.functional.conv2d(gray.repeat(1, channels, 1, 1), adapt_channels(weight, channels))
        torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("channels", "classes"), [(3, 1000), (1, 10)])
def test_pretrained_weights_come_with_their_scale(monkeypatch, channels, classes):
    from torchvision import models

    torch.manual_seed(0)
    theirs = models.get_model("resnet18").eval()
    monkeypatch.setattr("torchvision.models.WeightsEnum.get_state_dict", lambda *args, **kwargs: theirs.state_dict())
    network = TorchvisionNetwork("resnet18", pretrained=True, in_channels=channels, num_classes=classes).eval()
    pixels = torch.rand(2, channels, 32, 32)
    images = network.normalized(pixels * 2 - 1)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    scaled = (pixels.expand(-1, 3, -1, -1) - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1)
    with torch.no_grad():
        if classes == 1000:
            torch.testing.assert_close(network(images), theirs(scaled), atol=1e-4, rtol=1e-4)
        theirs.fc = nn.Identity()
        torch.testing.assert_close(network.features(images), theirs(scaled), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("library", [TorchvisionNetwork, TimmNetwork])
def test_frozen_layers_stay(library):
    network = library("resnet18", in_channels=3, num_classes=4)
    freeze(network, ["backbone"])
    assert {name for name, p in network.named_parameters() if p.requires_grad} == {"model.fc.weight", "model.fc.bias"}
    before = {name: value.clone() for name, value in network.model.named_buffers()}
    network.train()(torch.randn(2, 3, 32, 32))
    assert all(torch.equal(value, before[name]) for name, value in network.model.named_buffers())

    some = library("resnet18", in_channels=3)
    freeze(some, ["conv1", "layer1"])
    assert not some.model.layer1[0].conv1.weight.requires_grad and some.model.layer2[0].conv1.weight.requires_grad
    assert not some.model.layer1.training and some.model.layer2.training


def test_no_weights_are_read_on_the_meta_device(monkeypatch):
    monkeypatch.setattr("torchvision.models.WeightsEnum.get_state_dict", lambda *args, **kwargs: pytest.fail("read"))
    with torch.device("meta"):
        network = TorchvisionNetwork("resnet18", pretrained=True)
    assert all(parameter.is_meta for parameter in network.parameters())


def test_a_checkpoint_needs_no_pretrained_weights(monkeypatch):
    theirs = TorchvisionNetwork("squeezenet1_1", in_channels=3, num_classes=1000).model.state_dict()
    monkeypatch.setattr("torchvision.models.WeightsEnum.get_state_dict", lambda *args, **kwargs: dict(theirs))
    network = {"name": "torchvision", "architecture": "squeezenet1_1", "pretrained": True}
    plain = {"task": {"name": "classification", "network": network}, "data": {"name": "digits"}}
    info = DataInfo((1, 32, 32), 10, -0.4, 0.7, 256, [str(k) for k in range(10)])
    saved = build(from_plain(plain).task, info.settings()).state_dict()
    monkeypatch.setattr("torchvision.models.WeightsEnum.get_state_dict", lambda *args, **kwargs: pytest.fail("read"))
    task = Checkpoint({"name": "x", "seed": 0, **plain}, info, saved).task()
    assert all(torch.equal(saved[name], value) for name, value in task.state_dict().items())


@pytest.mark.parametrize("library", [TorchvisionNetwork, TimmNetwork])
def test_mistakes_are_one_line(library, monkeypatch):
    with pytest.raises(ValueError, match="did you mean 'resnet"):
        library("resnet18x")
    with pytest.raises(ValueError, match="no layer is called 'layer9'"):
        freeze(library("resnet18"), ["layer9"])
    with pytest.raises(ValueError, match="num_classes"):
        library("resnet18", num_classes=0)
    if library is TimmNetwork:
        monkeypatch.setitem(sys.modules, "timm", None)
        with pytest.raises(UserError, match="requires the package timm"):
            library("resnet18")


def test_missing_network_is_one_line(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.models.WeightsEnum.get_state_dict", refuse)
    with pytest.raises(UserError, match="resnet18 cannot be downloaded: no network; give a file by `weights`"):
        TorchvisionNetwork("resnet18", pretrained=True)
