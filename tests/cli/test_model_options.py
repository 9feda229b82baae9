"""Where a command's model works: every outermost network once under autocast, and results close to float32's."""

import argparse

import torch

from genmods import create
from genmods.cli import model_options
from genmods.diffusion import CosineProcess, DDIMSampler, VPrediction
from genmods.models import DiffusionModel
from genmods.networks.base import outermost_networks


def task():
    torch.manual_seed(0)
    network = create("network", "unet", width=8, multipliers=[1])
    torch.nn.init.normal_(next(reversed(list(network.parameters()))), std=0.1)
    return DiffusionModel(network, CosineProcess(), VPrediction(), DDIMSampler(steps=3), image_size=8).eval()


def test_networks_run_in_bfloat16():
    exact = model_options.placed(task(), argparse.Namespace(precision="32"))
    reduced = model_options.placed(task(), argparse.Namespace(precision="bf16"))
    seen = []
    (network,) = outermost_networks(reduced)
    network.stem.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    images = reduced.sample(4)
    assert set(seen) == {torch.bfloat16} and len(seen) == 3
    assert images.dtype == torch.float32
    torch.testing.assert_close(images, exact.sample(4), atol=0.05, rtol=0)


def test_outermost_networks():
    module = task()
    module.other = create("network", "cnn")
    assert outermost_networks(module) == [module.denoiser.network, module.other]
    nested = create("network", "cnn")
    nested.inner = create("network", "cnn")
    assert outermost_networks(torch.nn.Sequential(nested)) == [nested]
