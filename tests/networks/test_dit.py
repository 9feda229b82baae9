import pytest
import torch

from genmods.networks.blocks import position_features
from genmods.networks.dit import DiT


def test_positions_are_distinguished_and_each_axis_has_half_the_features():
    features = position_features(14, 9, 32, torch.device("cpu"))
    distances = torch.cdist(features, features) + 9 * torch.eye(len(features))
    assert distances.min() > 0.3
    table = features.view(14, 9, 32)
    assert torch.equal(table[:, 0, :16], table[:, 8, :16])
    assert torch.equal(table[0, :, 16:], table[13, :, 16:])


def test_a_patch_is_one_token():
    shapes = []
    network = DiT(width=16, depth=1, patch=4)
    network.blocks[0].register_forward_pre_hook(lambda module, inputs: shapes.append(inputs[0].shape))
    network(torch.zeros(1, 1, 8, 13), torch.zeros(1))
    assert shapes == [(1, 2 * 4, 16)]


@pytest.mark.parametrize("settings", [{"width": 18}, {"width": 128, "heads": 3}, {"depth": 0}, {"patch": 0}])
def test_bad_settings_are_named(settings):
    (name, value), *_ = settings.items()
    with pytest.raises(ValueError, match=rf"^{name} must be .*, got {value}$"):
        DiT(**settings)
