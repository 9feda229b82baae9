"""No network trains a strided 1x1 convolution on few channels in channels-last: see `genmods.networks.layout`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from genmods.config.builtins import BUILTINS
from genmods.models import Classifier
from genmods.networks.base import Network
from genmods.networks.layout import memory_format
from support import layouts

OURS = [name for name, (kind, _) in layouts.NETWORKS.items() if kind not in ("diffusers", "timm", "torchvision")]
WRITTEN_SO = ["cnn, a strided 1x1", "resnet, strided"]


def test_every_network_is_here():
    assert {kind for kind, _ in layouts.NETWORKS.values()} == set(BUILTINS["network"])


@pytest.mark.parametrize("name", OURS)
def test_no_network_of_ours_has_such_a_layer_unless_it_is_written_so(name):
    with torch.device("meta"):
        network = layouts.build(name)
    assert (memory_format(network) is torch.contiguous_format) == (name in WRITTEN_SO)


@pytest.mark.parametrize(
    ("layer", "safe"),
    [
        (nn.Conv2d(4, 8, 1, stride=2), False),
        (nn.Conv2d(15, 8, 1, stride=(1, 2)), False),
        (nn.Conv2d(16, 8, 1, stride=2), True),
        (nn.Conv2d(4, 8, 1), True),
        (nn.Conv2d(4, 8, 2, stride=2), True),
        (nn.ConvTranspose2d(4, 8, 1, stride=2), True),
    ],
)
def test_one_such_layer_makes_a_network_contiguous(layer, safe):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(layer))
    assert (memory_format(network) is torch.channels_last) == safe


class PlugIn(Network):
    """A classifier as another package might bring it, laid out channels-last by its author."""

    def __init__(self):
        super().__init__()
        self.first, self.narrow = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 1, stride=2)
        self.to(memory_format=torch.channels_last)

    def forward(self, x):
        return self.narrow(self.first(x)).mean((2, 3))


def test_a_task_lays_out_filters_and_images_as_the_network_can_train():
    model = Classifier(PlugIn(), num_classes=8, in_channels=3, image_size=8)
    seen = []
    for layer in model.network.children():
        layer.register_forward_hook(lambda layer, x, y: seen.extend([x[0], layer.weight, y]))
    model(torch.rand(2, 3, 8, 8).contiguous(memory_format=torch.channels_last))
    assert len(seen) == 6 and all(tensor.is_contiguous() for tensor in seen)


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_gradients_are_right_in_the_layout_of_training_on_one_and_two_threads():
    pytest.importorskip("diffusers")
    command = [sys.executable, "-m", "support.layouts", *layouts.NETWORKS]
    paths = [str(Path(layouts.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | layouts.ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == ""
