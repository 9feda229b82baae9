"""Weights of other programs: wrappers and prefixes, heads, other releases, and what is refused."""

import os
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from genmods.core.errors import UserError
from genmods.networks import CNN, TimmNetwork, TorchvisionNetwork, freeze, load_weights

LAYERS = ("conv 4", "pool 2", "conv 8", "avgpool")


def cnn(classes=3):
    return CNN(layers=LAYERS, in_channels=3, num_classes=classes, image_size=8)


def prefixed(start, tensors):
    return {f"{start}{name}": value for name, value in tensors.items()}


WRAPPED = {
    "plain": lambda t: t,
    "state_dict": lambda t: {
        "epoch": 3,
        "state_dict": OrderedDict(t),
        "optimizer": {"state": {0: {"exp": torch.ones(2)}}},
    },
    "data_parallel": lambda t: {"model": prefixed("module.", t)},
    "compiled": lambda t: {"model_state_dict": prefixed("_orig_mod.", t)},
    "compiled_and_parallel": lambda t: prefixed("module._orig_mod.", t),
    "lightning": lambda t: {"state_dict": {"loss.weight": torch.ones(3), **prefixed("model.", t)}, "global_step": 4},
    "another_module": lambda t: {"state_dict": {**prefixed("net.encoder.", t), "net.decoder.weight": torch.ones(2, 2)}},
    "averages_first": lambda t: {
        "state_dict": {name: torch.zeros_like(value) for name, value in t.items()},
        "state_dict_ema": t,
    },
    "teacher_first": lambda t: {
        "student": {name: torch.zeros_like(value) for name, value in t.items()},
        "teacher": prefixed("backbone.", t),
    },
}


@pytest.mark.parametrize("name", WRAPPED)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_wrappers_and_prefixes_are_peeled(name, suffix, tmp_path):
    tensors, path = cnn().state_dict(), tmp_path / f"weights{suffix}"
    content = WRAPPED[name](tensors)
    if suffix == ".pth":
        torch.save(content, path)
    elif all(isinstance(value, torch.Tensor) for value in content.values()):
        save_file({key: value.clone() for key, value in content.items()}, path)
    else:
        pytest.skip("safetensors files have no dictionaries inside")
    network = cnn()
    loaded = load_weights(network, path)
    assert not loaded.new and f"loaded {loaded.total} of {loaded.total} tensors" in str(loaded)
    assert all(torch.equal(value, tensors[key]) for key, value in network.state_dict().items())


def test_a_head_for_other_classes_is_new(tmp_path):
    torch.save(cnn(10).state_dict() | {"extra.weight": torch.ones(2, 2)}, tmp_path / "ten.pth")
    network = cnn(3)
    loaded = load_weights(network, tmp_path / "ten.pth")
    head = [name for name, value in network.state_dict().items() if 3 in value.shape[:1] and "num" not in name]
    assert loaded.new == head and loaded.unused == ["extra.weight"]
    assert "2 newly initialised" in str(loaded) and "1 unused: extra.weight" in str(loaded)


class Payload:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def test_what_cannot_be_used_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tensors = cnn().state_dict()
    (tmp_path / "text.pth").write_text("no weights")
    (tmp_path / "text.safetensors").write_text("no weights")
    torch.save({"state_dict": tensors, "args": Payload()}, "code.pth")
    torch.save({"epoch": 3}, "empty.pth")
    torch.save({"other.weight": torch.ones(3, 3), "norm.bias": torch.ones(4)}, "other.pth")
    torch.save({name: value * float("nan") for name, value in tensors.items() if value.ndim}, "nan.pth")
    torch.save({name: value.to(torch.int8) for name, value in tensors.items()}, "int8.pth")
    (tmp_path / "pointer.pth").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    torch.save(tensors, "good.pth")
    for file, told in {
        "none.pth": "there is no file none.pth",
        "text.pth": "text.pth: not a readable file of weights",
        "text.safetensors": "not a readable safetensors file",
        "code.pth": "which is code and not loaded",
        "empty.pth": "contains no tensors by name",
        "other.pth": "none of its 2 tensors",
        "nan.pth": "is not finite",
        "int8.pth": r"layers.conv1.0.weight is int8; save quantised weights as floating-point numbers",
        "pointer.pth": "is a pointer of Git LFS; `git lfs pull` fetches the file",
        "good.pth#sha256=0123456789": "its SHA-256 is",
        "good.pth#sha256=xyz": "must be 8 to 64 hexadecimal digits, got xyz",
    }.items():
        with pytest.raises(UserError, match=told) as error:
            load_weights(cnn(), file)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("library", [TorchvisionNetwork, TimmNetwork])
@pytest.mark.parametrize("channels", [1, 5])
def test_colour_filters_on_other_channels(library, channels, tmp_path):
    name = {TorchvisionNetwork: "squeezenet1_1", TimmNetwork: "resnet10t"}[library]
    color = library(name, in_channels=3, num_classes=7).eval()
    torch.save({"state_dict": prefixed("module.", color.model.state_dict())}, tmp_path / "rgb.pth")
    network = library(name, weights=str(tmp_path / "rgb.pth"), in_channels=channels, num_classes=7).eval()
    assert not network.loaded.new and not network.loaded.unused
    gray = torch.rand(2, 1, 32, 32) * 2 - 1
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        seen = network.normalized(gray.expand(-1, channels, -1, -1))
        if channels == 1:
            expected = color(((gray.expand(-1, 3, -1, -1) + 1) / 2 - mean) / std)
            torch.testing.assert_close(network(seen), expected, atol=1e-4, rtol=1e-4)
        assert network(seen).shape == (2, 7)


def test_another_release_of_a_network_of_convolutions_is_matched_by_order(tmp_path):
    theirs = TimmNetwork("efficientnet_lite0", num_classes=7).model
    renamed = {f"old.{i}.{name.rpartition('.')[2]}": v for i, (name, v) in enumerate(theirs.state_dict().items())}
    torch.save(renamed, tmp_path / "old.pth")
    network = TimmNetwork("efficientnet_lite0", weights=str(tmp_path / "old.pth"), num_classes=5)
    assert "by order and shape" in str(network.loaded) and network.loaded.new == [
        "classifier.weight",
        "classifier.bias",
    ]
    head = ("classifier.weight", "classifier.bias")
    own = network.model.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in theirs.state_dict().items() if name not in head)
    swapped = dict(renamed)
    first, second = (name for name in list(renamed)[:2])
    swapped[first], swapped[second] = swapped[second], swapped[first]
    torch.save(swapped, tmp_path / "swapped.pth")
    with pytest.raises(UserError, match="none of its"):
        TimmNetwork("efficientnet_lite0", weights=str(tmp_path / "swapped.pth"), num_classes=5)


def test_matrices_are_never_matched_by_order(tmp_path):
    """The projections of attention have one shape and no fixed order."""
    theirs = TimmNetwork("test_vit", num_classes=7).model.state_dict()
    torch.save({f"old_{n}": value for n, value in theirs.items()}, tmp_path / "vit.pth")
    with pytest.raises(UserError, match="none of its"):
        TimmNetwork("test_vit", weights=str(tmp_path / "vit.pth"), num_classes=7)


def test_names_of_a_release_that_timm_supports(tmp_path):
    """Facebook's ConvNeXt: `downsample_layers.0.0`, `pwconv1`, `gamma`."""
    theirs = TimmNetwork("convnext_atto", num_classes=7).model.state_dict()
    names = {"stem.": "downsample_layers.0.", "head.norm.": "norm.", "head.fc.": "head.", ".norm.": ".norm."}
    renamed = {}
    for name, value in theirs.items():
        new = next((there + name.removeprefix(here) for here, there in names.items() if name.startswith(here)), name)
        new = new.replace(".blocks.", ".").replace(".conv_dw.", ".dwconv.").replace("mlp.fc", "pwconv")
        parts = new.split(".")
        if parts[0] == "stages" and parts[2] == "downsample":
            new = ".".join(["downsample_layers", *parts[1:2], *parts[3:]])
        renamed[new] = value
    torch.save({"model": renamed}, tmp_path / "facebook.pth")
    network = TimmNetwork("convnext_atto", weights=str(tmp_path / "facebook.pth"), num_classes=7)
    assert not network.loaded.new
    assert all(torch.equal(value, network.model.state_dict()[name]) for name, value in theirs.items())


def test_without_a_connection_the_line_names_weights(monkeypatch, tmp_path):
    monkeypatch.setattr("genmods.networks.adapters.timm._is_reachable", lambda *_: False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        UserError, match=r"resnet10t cannot be downloaded: .* cannot be reached; give a file by `weights`"
    ):
        TimmNetwork("resnet10t", pretrained=True)
    with pytest.raises(ValueError, match="pretrained must be false where `weights` names a file"):
        TimmNetwork("resnet10t", pretrained=True, weights="x.pth")


def test_layers_by_name_and_pattern():
    network = TorchvisionNetwork("resnet18", num_classes=3)
    freeze(network, ["conv1", "layer1.0", "layer?.1.bn*"])
    off = {name for name, parameter in network.model.named_parameters() if not parameter.requires_grad}
    assert {"conv1.weight", "layer1.0.conv1.weight", "layer3.1.bn2.weight"} <= off
    assert not off & {"layer1.1.conv1.weight", "layer3.0.bn2.weight", "bn1.weight"}
    still = network.model.layer3[1].bn2.running_mean.clone()
    network.train()(torch.randn(2, 3, 32, 32))
    assert torch.equal(still, network.model.layer3[1].bn2.running_mean)
    head = CNN(layers=LAYERS, in_channels=3, num_classes=3, image_size=8)
    freeze(head, ["head"])
    assert [p.requires_grad for p in head.parameters()][-2:] == [False, False] and isinstance(head, nn.Module)
    for wrong in ("layer9", "backbon", "conv1.", "*x"):
        with pytest.raises(ValueError, match="freeze: no layer is called"):
            freeze(network, [wrong])


def test_a_run_and_a_torchscript_archive_are_named(tmp_path):
    with pytest.raises(UserError, match=r"is a folder; the network of a run is taken by `from: "):
        load_weights(cnn(), tmp_path)
    with pytest.warns():  # deprecated by torch
        torch.jit.save(torch.jit.trace(cnn().eval(), torch.zeros(1, 3, 8, 8)), tmp_path / "x.pt")
    with pytest.raises(UserError, match="a TorchScript archive, which contains code; save its state_dict alone"):
        load_weights(cnn(), tmp_path / "x.pt")
