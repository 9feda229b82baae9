import pytest
import torch
from torch import nn

from genmods.networks.airbench import Airbench
from genmods.networks.cnn import CNN
from genmods.networks.resnet import ResNet
from genmods.visual.trace import find_layer, stages, trace


def test_trace_lists_calls_in_order_with_their_outputs():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.ReLU(), nn.Flatten())).train()
    x = torch.randn(1, 1, 5, 5)
    steps = trace(network, x)
    assert [step.name for step in steps] == ["0", "1.0", "1.1", "1"]
    assert torch.equal(steps[0].output, network[0](x)) and steps[1].in_shape == (1, 2, 3, 3)
    assert network.training and not network[0]._forward_hooks


def test_hooks_go_and_modes_come_back_after_an_error():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(3)).train()
    network[1].eval()
    with pytest.raises(RuntimeError):
        trace(network, torch.randn(1, 1, 5, 5))
    assert not network[0]._forward_hooks and network.training and not network[1].training


def test_find_layer():
    network = CNN(["conv 4", "pool 2", "conv 4"])
    assert find_layer(network, "conv2") == find_layer(network, "layers.conv2") == "layers.conv2"
    with pytest.raises(ValueError, match=r"no layer is called 'conv9'; choose from layers, layers.conv1"):
        find_layer(network, "conv9")
    with pytest.raises(ValueError, match="more than one layer is called '0'"):
        find_layer(network, "0")


@pytest.mark.parametrize(
    ("network", "names"),
    [
        (CNN(["conv 4", "conv 4", "pool 2", "conv 8", "dropout 0.1"], image_size=8), ["layers.conv2", "layers.conv3"]),
        (ResNet(width=4, blocks=(1, 2)), ["layer1", "layer2"]),
        (Airbench((4, 8), image_size=8), ["whiten", "blocks.0", "blocks.1"]),
    ],
)
def test_stages_are_the_last_map_of_each_resolution(network, names):
    found = [step.name for step in stages(trace(network, torch.zeros(1, 1, 8, 8)))]
    assert found == names
