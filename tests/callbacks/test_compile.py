"""Compiled networks: every outermost one, once, in place, with the same loss and the same names."""

import pytest
import torch
from lightning.pytorch import Trainer
from test_pictures import classification, fit, names

from genmods import create
from genmods.callbacks.compile import Compile
from genmods.callbacks.feature_maps import FeatureMaps
from genmods.diffusion import CosineProcess, VPrediction
from genmods.models import GAN, DiffusionModel
from genmods.tasks.diffusion import DiffusionTask
from genmods.tasks.gan import GANTask


@pytest.fixture
def graphs(monkeypatch):
    """The number of graphs that were handed to the compiler, which runs them as they are."""
    seen, compile_ = [], torch.compile

    def backend(graph, inputs):
        seen.append(graph)
        return graph

    monkeypatch.setattr(torch, "compile", lambda f, mode, **kw: compile_(f, backend=backend, **kw))
    yield seen
    torch._dynamo.reset()


def task():
    torch.manual_seed(0)
    network = create("network", "unet", width=8, multipliers=[1])
    return DiffusionTask(DiffusionModel(network, CosineProcess(), VPrediction(), image_size=8))


def test_network_is_compiled_in_place(graphs):
    eager, compiled = task(), task()
    trainer = Trainer(barebones=True, accelerator="cpu")
    Compile().setup(trainer, compiled, "fit")
    Compile().setup(trainer, compiled, "validate")  # a second time changes nothing
    assert list(compiled.state_dict()) == list(eager.state_dict())
    batch = {"image": torch.rand(4, 1, 8, 8) * 2 - 1, "label": torch.zeros(4, dtype=torch.int64)}
    losses = []
    for module in (eager, compiled):
        torch.manual_seed(1)
        loss = module.loss(module.model.denoiser, batch["image"]).per_sample.mean()
        loss.backward()
        losses.append(loss.detach())
    assert len(graphs) >= 1
    torch.testing.assert_close(*losses)
    for a, b in zip(eager.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-6)


def test_the_maps_of_a_compiled_network_are_seen_at_each_validation(tmp_path, graphs):
    task = classification()
    fit(tmp_path, task, [Compile(), FeatureMaps()])
    assert names(tmp_path) == ["features_000002.png", "features_000004.png"]
    assert graphs and task.model.network._compiled_call_impl is not None


def test_a_network_that_is_differentiated_twice_stays_as_it_is(graphs):
    shapes = {"width": 4, "multipliers": [1]}
    generator = create("network", "generator", latent=4, image_size=8, **shapes)
    for gamma, compiled in ((1.0, False), (0.0, True)):
        model = GAN(generator, latent=4, image_size=8)
        gan = GANTask(model, create("network", "discriminator", **shapes), gamma)
        Compile().setup(None, gan, "fit")
        assert gan.model.network._compiled_call_impl is not None
        assert (gan.discriminator._compiled_call_impl is not None) == compiled
