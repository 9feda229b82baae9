import math

import pytest
import torch
from torch import nn

from genmods.networks.vdm import VDM


def test_fourier_features_are_sines_and_cosines_of_the_pixels():
    x = torch.linspace(-1, 1, 12).view(1, 1, 3, 4)
    features = VDM(width=4, depth=1, fourier=(2, 5)).with_fourier(x)
    expected = [x, (4 * math.pi * x).sin(), (4 * math.pi * x).cos(), (32 * math.pi * x).sin(), (32 * math.pi * x).cos()]
    torch.testing.assert_close(features, torch.cat(expected, dim=1))


def test_every_layer_is_at_full_resolution():
    sizes = set()
    network = VDM(width=8, depth=2)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, inputs, output: sizes.add(output.shape[2:]))
    network(torch.zeros(1, 1, 9, 7), torch.zeros(1))
    assert sizes == {(9, 7)}


@pytest.mark.parametrize("settings", [{"width": 5}, {"depth": 0}])
def test_bad_settings_are_named(settings):
    (name, value), *_ = settings.items()
    with pytest.raises(ValueError, match=rf"^{name} must be .*, got {value}$"):
        VDM(**settings)
