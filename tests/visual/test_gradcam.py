import pytest
import torch
from torch import nn

from genmods.networks.cnn import CNN
from genmods.visual.gradcam import Photo, evidence, grad_cam


class Halves(nn.Module):
    """Maps of bright and dark; class 0 is the mean of the bright one, 1 twice that of the dark one, 2 minus bright."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
        self.relu = nn.ReLU()
        self.head = nn.Linear(2, 3, bias=False)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]]))

    def forward(self, x):
        return self.head(self.relu(self.conv(x)).mean((2, 3)))


def half_bright():
    image = -torch.ones(1, 1, 4, 6)
    image[..., 3:] = 1
    return image


def test_evidence_of_a_known_network():
    """alpha = head weight / pixels: class 0 has the bright half, class 1 twice the dark half, class 2 nothing."""
    images = half_bright().repeat(3, 1, 1, 1)
    maps = evidence(Halves(), images, torch.tensor([0, 1, 2]), "relu")
    expected = torch.zeros(3, 4, 6)
    expected[0, :, 3:] = 1 / 24
    expected[1, :, :3] = 2 / 24
    torch.testing.assert_close(maps, expected)


def test_the_deepest_map_is_the_default():
    images = half_bright()
    torch.testing.assert_close(
        evidence(Halves(), images, torch.tensor([0])), evidence(Halves(), images, torch.tensor([0]), "relu")
    )


def test_works_under_no_grad_and_leaves_nothing_behind():
    network = CNN(["conv 4", "pool 2", "conv 4"], image_size=8).train()
    with torch.no_grad():
        maps = evidence(network, torch.randn(2, 1, 8, 8), torch.tensor([1, 2]))
    assert maps.shape == (2, 4, 4) and (maps >= 0).all() and not maps.requires_grad
    assert network.training and all(p.grad is None for p in network.parameters())


def test_frozen_networks_have_evidence_too():
    network = CNN(["conv 4", "avgpool"], image_size=8).requires_grad_(False)
    assert evidence(network, torch.randn(1, 1, 8, 8), torch.tensor([0])).shape == (1, 8, 8)


def test_a_network_without_maps_is_refused():
    with pytest.raises(ValueError, match="requires feature maps"):
        evidence(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), torch.zeros(1, 1, 4, 4), torch.tensor([0]))


def test_figure_has_a_column_an_image_and_a_row_a_class():
    figure = grad_cam(Halves(), half_bright().repeat(3, 1, 1, 1), torch.tensor([0, 1, 2]), class_names=["a", "b", "c"])
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:3] == ["a", "b", "c"] and titles[3].startswith("b ") and titles[6].startswith("a ")
    assert len(figure.axes) == 9


def test_heat_lies_in_the_part_of_the_photo_that_the_network_sees():
    """A network that sees the middle half of a photo; its bright half is the third quarter of the photo."""
    photo = Photo(torch.zeros(1, 40, 160), (40, 0, 120, 40), "x")
    figure = grad_cam(Halves(), half_bright(), photos=[photo])
    assert figure.axes[0].get_title() == "x"
    overlays = [axes for axes in figure.axes if len(axes.images) == 2]
    heat = next(axes.images[1] for axes in overlays if axes.get_title().startswith("0 "))
    left, right, lower, upper = heat.get_extent()
    assert (left, upper, right, lower) == photo.part and overlays[0].get_xlim() == (0, 160)
    found = heat.get_array()
    assert found[:, : found.shape[1] // 4].max() < 0.1 and found[:, -found.shape[1] // 4 :].min() > 0.9


def test_nine_images_take_two_blocks_of_rows():
    figure = grad_cam(Halves(), half_bright().repeat(9, 1, 1, 1), torch.zeros(9, dtype=torch.int64))
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 27 and len(figure.axes) == 48
