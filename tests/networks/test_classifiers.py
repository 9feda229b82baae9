"""Every registered network with an embedding, discriminators apart, is a classifier and is tested here on arrival."""

import pytest
import torch

from genmods.config.builtins import BUILTINS, imported
from genmods.networks.base import Network
from genmods.optim.groups import parameter_groups


def load(name):
    return imported(BUILTINS["network"][name])


EMBEDS = [name for name in BUILTINS["network"] if load(name).features is not Network.features]
CLASSIFIERS = [name for name in EMBEDS if "discriminator" not in name]
FACTS = {"in_channels": 2, "image_size": 32, "num_classes": 4}


def create(name):
    torch.manual_seed(0)
    kind = load(name)
    accepted = kind.__init__.__code__.co_varnames
    return kind(**{fact: value for fact, value in FACTS.items() if fact in accepted})


def images():
    return torch.randn(3, 2, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_logits_and_embeddings(name):
    network = create(name).eval()
    with torch.no_grad():
        logits, features = network(images()), network.features(images())
    assert logits.shape == (3, 4) and logits.isfinite().all()
    assert features.ndim == 2 and len(features) == 3


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_sample_does_not_depend_on_its_batch_or_on_the_memory_layout(name):
    network, x = create(name).eval(), images()
    with torch.no_grad():
        logits = network(x)
        torch.testing.assert_close(network(x[1:2]), logits[1:2], atol=1e-4, rtol=1e-4)
        network.to(memory_format=torch.channels_last)
        torch.testing.assert_close(network(x.to(memory_format=torch.channels_last)), logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_builds_on_the_meta_device_and_trains_in_bfloat16(name):
    with torch.device("meta"):
        assert create(name).eval()(images().to("meta")).shape == (3, 4)
    network = create(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = network(images()).float().square().mean()
    loss.backward()
    for group in parameter_groups(network):
        assert all(p.grad is not None and p.grad.isfinite().all() for p in group["params"])


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_head_is_the_last_weight(name):
    network = create(name)
    head = next(group for group in reversed(parameter_groups(network)) if "weight_decay" not in group)
    assert head["matrix"] is False and [len(p) for p in head["params"]] == [4]


def test_all_of_them_are_here():
    assert {"cnn", "resnet", "wide_resnet", "convnext", "airbench", "torchvision", "timm"} <= set(CLASSIFIERS)
