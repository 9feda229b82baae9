"""Guidance composed in Python, and samplers by name: what the options of `generate` do."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from genmods import UserError, create, register
from genmods.config import registry
from genmods.diffusion import CosineProcess, DDIMSampler, VPrediction
from genmods.models import Classifier, DiffusionModel, guide
from genmods.networks import CNN, UNet


def model(seed, process=None):
    torch.manual_seed(seed)
    network = UNet(width=4, multipliers=(1,), blocks=1, attention=(), num_classes=3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # the last layer starts at zero
    settings = {"image_size": 8, "num_classes": 3, "class_names": ["a", "b", "c"]}
    return DiffusionModel(network, process or CosineProcess(), VPrediction(), DDIMSampler(steps=3), **settings).eval()


@pytest.fixture(scope="module")
def good():
    return model(0)


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(2)
    return Classifier(CNN(layers=("avgpool",), num_classes=3, image_size=8), num_classes=3, image_size=8).eval()


def test_autoguidance_extrapolates_and_scale_one_is_none(good):
    plain, worse = good.sample(2), model(1)
    torch.testing.assert_close(good.sample(2, guide=guide(good, 1.0, worse=worse)), plain, atol=1e-5, rtol=0)
    assert not torch.allclose(good.sample(2, guide=guide(good, worse=worse)), plain, atol=1e-3)


def test_a_classifier_guides_within_an_interval(good, classifier):
    plain = good.sample(2, {"label": "b"})
    guided = good.sample(2, {"label": "b"}, guide=guide(good, 5.0, classifier=classifier))
    nowhere = good.sample(2, {"label": "b"}, guide=guide(good, 5.0, classifier=classifier, interval=(1e5, 1e6)))
    assert not torch.allclose(guided, plain, atol=1e-4) and torch.equal(nowhere, plain)


def test_a_classifier_with_the_classes_in_another_order_guides_to_the_same_class(good, classifier):
    def named(names, order):
        torch.manual_seed(2)
        network = CNN(layers=("avgpool",), num_classes=3, image_size=8)
        made = Classifier(network, num_classes=3, class_names=names, image_size=8).eval()
        with torch.no_grad():
            for old, new in zip(classifier.parameters(), made.parameters(), strict=True):
                new.copy_(old[order] if len(old) == 3 else old)
        return made

    condition = {"label": "b"}
    expected = good.sample(2, condition, guide=guide(good, 5.0, classifier=classifier))
    same = guide(good, 5.0, classifier=named(["c", "a", "b"], [2, 0, 1]))
    torch.testing.assert_close(good.sample(2, condition, guide=same), expected)
    with pytest.raises(UserError, match="classifier: expected a classifier of the same images and classes"):
        guide(good, 5.0, classifier=named(["a", "b", "x"], [0, 1, 2]))


def test_classifier_free_guidance_is_that_of_the_weight(good):
    torch.testing.assert_close(good.sample(2, guide=guide(good, 2.0)), good.sample(2, guidance=2.0))


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"guidance": float("nan")}, "guidance must be finite, got nan"),
        ({"interval": (3.0, 1.0)}, "interval must satisfy 0 <= LO < HI, got 3.0 1.0"),
        ({"threshold": 2.0}, r"threshold must lie in \(0, 1\], got 2.0"),
        ({"worse": torch.nn.Linear(1, 1)}, "worse: expected a diffusion model .*, got an incompatible Linear"),
        ({"classifier": model(0)}, "classifier: expected a classifier .*, got an incompatible DiffusionModel"),
        ({"classifier": model(0), "worse": model(1)}, "mutually exclusive"),
    ],
)
def test_guides_that_do_not_fit(good, settings, line):
    with pytest.raises(UserError, match=line):
        guide(good, **settings)


@dataclass
class Mine(DDIMSampler):
    """DDIM of another package."""


def test_samplers_by_name(good, monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    register("sampler", "mine")(Mine)
    assert torch.equal(good.sample(2, sampler="mine"), good.sample(2))
    heun = create("sampler", "heun", steps=4)
    torch.testing.assert_close(good.sample(2, sampler="heun", steps=4), good.sample(2, sampler=heun))
    with pytest.raises(UserError, match="no sampler is called 'mien'; did you mean 'mine'"):
        good.sample(2, sampler="mien")
    with pytest.raises(UserError, match="steps: steps must be at least 1, got 0"):
        good.sample(2, steps=0)
