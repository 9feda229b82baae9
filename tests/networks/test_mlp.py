import pytest
import torch

from genmods.networks.mlp import MLP


def test_points_keep_their_shape():
    network = MLP(in_channels=3, width=16)
    assert network(torch.randn(5, 3), torch.zeros(5)).shape == (5, 3)
    assert MLP(in_channels=3, width=16, out_channels=6)(torch.randn(5, 3), torch.zeros(5)).shape == (5, 6)


def test_it_learns_a_denoiser_of_two_points():
    """For data at +-1 the best estimate is tanh(x / s^2); a few hundred steps come near it."""
    torch.manual_seed(0)
    network = MLP(in_channels=1, width=32, depth=2)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    noise = torch.zeros(256)  # log-SNR 0: s = 1
    for _ in range(300):
        x0 = torch.randint(2, (256, 1)) * 2.0 - 1
        loss = (network(x0 + torch.randn(256, 1), noise) - x0).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x = torch.linspace(-2, 2, 41)[:, None]
    assert (network(x, torch.zeros(41)) - x.tanh()).square().mean().sqrt() < 0.1


@pytest.mark.parametrize("settings", [{"width": 5}, {"depth": 0}, {"in_channels": 0}, {"image_size": 0}])
def test_bad_settings_are_named(settings):
    (name, value), *_ = settings.items()
    with pytest.raises(ValueError, match=rf"^{name} must be .*, got {value}$"):
        MLP(**settings)
