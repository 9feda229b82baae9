import xml.etree.ElementTree as ElementTree

import pytest
import torch
from torch import nn

from genmods.networks.airbench import Airbench
from genmods.networks.cnn import CNN
from genmods.networks.convnext import ConvNeXt
from genmods.networks.plain_unet import PlainUNet
from genmods.networks.resnet import ResNet, WideResNet
from genmods.networks.unet import UNet
from genmods.visual.architecture import architecture, count_text, nested, short_name
from genmods.visual.blocks import blocks

CLASSIFIERS = {
    "cnn": lambda: CNN(),
    "resnet": lambda: ResNet(width=8),
    "wide_resnet": lambda: WideResNet(10, 1),
    "convnext": lambda: ConvNeXt((8, 16), (1, 1)),
    "airbench": lambda: Airbench((8, 16)),
}


def test_blocks_of_the_plain_cnn():
    network = CNN(["conv 8", "pool 2", "dropout 0.1", "linear 16"])
    found = blocks(network, torch.zeros(1, 1, 28, 28))
    assert [block.name for block in found] == ["layers.conv1", "layers.pool1", "layers.linear1", "head"]
    assert [block.shape for block in found] == [(8, 28, 28), (8, 14, 14), (16,), (10,)]
    assert [block.kind for block in found] == ["convolution", "pooling", "fully connected", "fully connected"]
    assert [block.parameters for block in found] == [8 * 9 + 2 * 8, 0, 8 * 14 * 14 * 16 + 16, 170]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_blocks_hold_all_parameters(name):
    network = CLASSIFIERS[name]()
    found = blocks(network, torch.zeros(1, 1, 28, 28))
    frozen = sum(b.numel() for n, b in network.named_buffers() if n == "whiten.weight")
    assert sum(block.parameters for block in found) == sum(p.numel() for p in network.parameters()) + frozen
    assert 3 <= len(found) <= 33


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_drawing_is_valid_svg_that_names_every_block(name, device):
    with torch.device(device):
        network, image = CLASSIFIERS[name](), torch.empty(1, 1, 28, 28)
    svg = architecture(network, image, name=f"<{name}>")
    texts = [element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0].startswith(f"<{name}> · ")
    for block in blocks(network, image):
        assert short_name(block.name) in texts
    assert "nan" not in svg


def test_a_task_around_a_network_is_looked_through():
    class Task(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = CNN(["conv 4"])

        def forward(self, x):
            return self.network(x)

    assert [block.name for block in blocks(Task(), torch.zeros(1, 1, 28, 28))] == ["network.layers", "network.head"]


def test_levels_of_a_u_net_are_opened():
    found = blocks(UNet(), torch.zeros(1, 1, 28, 28), torch.zeros(1), {})
    sizes = [block.shape[-1] for block in found if len(block.shape) == 3]
    assert sizes[0] == sizes[-1] == 28 and min(sizes) < 14, "down and up again"


def example(image_size=28):
    return torch.zeros(1, 1, image_size, image_size), torch.zeros(1), {"label": torch.zeros(1, dtype=torch.long)}


@pytest.mark.parametrize("network", [UNet(num_classes=10), UNet(attention=()), PlainUNet(in_channels=1, width=8)])
def test_skip_connections_of_a_u_net_mirror_its_encoder(network):
    found = blocks(network, *example())
    skips = [(source, target) for target, block in enumerate(found) for source in block.skips]
    per_level = 2 if isinstance(network, UNet) else 1  # two residual blocks, or one block of plain convolutions
    assert len(skips) == 2 * per_level, "all levels but the coarsest"
    assert all(found[i].shape[1:] == found[j].shape[1:] for i, j in skips)
    assert sorted(skips) == sorted(skips, key=lambda skip: -skip[1]), "the first map is used last"


def test_attention_is_drawn_as_blocks_of_the_levels_that_have_it():
    found = blocks(UNet(blocks=1), *example())
    assert {block.shape[-1] for block in found if block.kind == "attention"} == {7}
    assert not [block for block in blocks(UNet(attention=()), *example()) if block.kind == "attention"]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_blocks_that_contain_their_residuals_have_no_skips(name):
    assert not any(block.skips for block in blocks(CLASSIFIERS[name](), torch.zeros(1, 1, 28, 28)))


def test_skips_are_arcs_within_a_row_and_numbers_between_rows():
    small = architecture(UNet(multipliers=(1, 2), blocks=1), *example(8))
    assert small.count("<path") == 1 and "<circle" not in small and "skip connection" in small
    large = architecture(UNet(), *example())
    assert large.count("<path") == 0 and large.count("<circle") == 2 * 4


def test_arcs_that_overlap_have_different_heights():
    levels = nested([(0, 9), (1, 8), (2, 3), (4, 7), (3, 4)])
    for one, height in levels.items():
        for other in levels:
            apart = one[1] < other[0] or other[1] < one[0]
            assert one == other or apart or levels[other] != height
    assert levels[0, 9] > levels[1, 8] > levels[4, 7]


def test_short_names():
    names = ["head", "levels.inner.down.0", "levels.down.0", "an_overlong_module_name", "a.an_overlong_module_name"]
    assert [short_name(name) for name in names] == [
        "head",
        "…inner.down.0",
        "levels.down.0",
        "an_overlong_mod",
        "…an_overlong_mod",
    ]


def test_counts():
    assert [count_text(n) for n in (0, 940, 36928, 11_170_000)] == ["", "940", "36.9 k", "11.2 M"]


@pytest.mark.parametrize("name", ["<img onerror=x>&\"'", "\x00\x1b[2J\x0b", "\udcff\ufffe", "]]><!--"])
def test_any_name_makes_a_drawing_that_is_well_formed(name):
    drawing = ElementTree.fromstring(architecture(CNN(["conv 8"]), torch.zeros(1, 1, 28, 28), name=name).encode())
    assert {element.tag.rpartition("}")[2] for element in drawing.iter()} <= {"svg", "rect", "text", "polygon", "line"}
