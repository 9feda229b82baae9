import pytest
import torch
from torch import nn

from genmods.networks.airbench import Airbench
from genmods.networks.cnn import CNN
from genmods.visual.layers import activations, feature_maps, feature_overview, filters, first_filters, strongest
from genmods.visual.style import as_image, save


def shifting():
    """A convolution whose maps are known: the image, its negative, the image one pixel to the left, and nothing."""
    conv = nn.Conv2d(1, 4, 3, padding=1, bias=False)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[0, 0, 1, 1], conv.weight[1, 0, 1, 1], conv.weight[2, 0, 1, 2] = 1, -1, 1
    return nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))


def test_feature_maps_of_a_known_network():
    image = torch.randn(1, 6, 6)
    maps = activations(shifting(), "1", image[None])
    shifted = torch.cat([image[:, :, 1:], torch.zeros(1, 6, 1)], dim=2)
    torch.testing.assert_close(maps, torch.cat([image, -image, shifted, 0 * image]).relu())


def test_strongest_maps_come_first():
    maps = torch.stack([torch.zeros(3, 3), torch.eye(3), 5 * torch.eye(3), torch.full((3, 3), 9.0)])
    assert strongest(maps, 2) == [2, 1]


def test_a_layer_without_maps_is_refused():
    with pytest.raises(ValueError, match="the output of layer '3' is not a feature map"):
        activations(shifting(), "3", torch.zeros(1, 1, 6, 6))


def test_first_filters():
    name, weights = first_filters(shifting())
    assert name == "0" and weights.shape == (4, 1, 3, 3)
    assert first_filters(Airbench((4,), in_channels=3))[1].shape == (24, 3, 2, 2)
    with pytest.raises(ValueError, match="no convolution"):
        first_filters(nn.Linear(3, 3))


@pytest.mark.parametrize("channels", [1, 3])
def test_figures_have_a_panel_a_map_and_are_written(channels, tmp_path):
    network = CNN(["conv 6", "pool 2", "conv 10"], in_channels=channels, image_size=12)
    image = torch.rand(channels, 12, 12) * 2 - 1
    shown = {
        "maps": (feature_maps(network, "conv2", image), 1 + 10),
        "few": (feature_maps(network, "conv2", image, most=5), 1 + 5),
        "overview": (feature_overview(network, image, columns=4), 1 + 2 * 4),
        "chosen": (feature_overview(network, image, ["conv1"], columns=3), 1 + 3),
        "filters": (filters(network), 6),
    }
    for name, (figure, panels) in shown.items():
        axes = [axes for part in (figure, *figure.subfigs) for axes in part.get_axes()]
        assert len({id(a) for a in axes if a.images}) == panels, name
        save(figure, tmp_path / "pictures" / f"{name}.png", dpi=40)
        assert (tmp_path / "pictures" / f"{name}.png").stat().st_size > 1000
        pixels = as_image(figure, dpi=30)
        assert pixels.dtype == torch.uint8 and pixels.shape[0] == 3 and pixels.float().std() > 1
