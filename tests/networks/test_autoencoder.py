import pytest
import torch

from genmods.networks.autoencoder import Autoencoder


@pytest.mark.parametrize("size", [8, 28, 33])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_there_and_back(size, channels):
    network = Autoencoder(channels, size, width=8, latent_channels=2)
    x = torch.randn(2, channels, size, size)
    mean, logvar = network.encode(x)
    side = -(-size // 4)
    assert mean.shape == logvar.shape == (2, 2, side, side)
    assert network.decode(mean).shape == network(x).shape == x.shape


def test_the_log_variance_is_bounded():
    _, logvar = Autoencoder(image_size=8, width=8).encode(1e4 * torch.randn(2, 1, 8, 8))
    assert logvar.min() >= -20
    assert logvar.max() <= 10


def test_it_learns_to_reconstruct():
    torch.manual_seed(0)
    network = Autoencoder(image_size=8, width=8, multipliers=(1, 2), latent_channels=4)
    x = torch.rand(16, 1, 1, 1).mul(2).sub(1).expand(16, 1, 8, 8).contiguous()
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(60):
        loss = (network(x) - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1 * x.var()


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"images must have 8 x 8 pixels .* got \(8, 9\)"):
        Autoencoder(image_size=8, width=8).encode(torch.zeros(1, 1, 8, 9))


@pytest.mark.parametrize("settings", [{"width": 0}, {"multipliers": ()}, {"latent_channels": 0}, {"blocks": 0}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Autoencoder(**settings)
