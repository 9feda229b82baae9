"""The evidence bound of a variational autoencoder against closed forms of Gaussians."""

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from genmods.models import VAE
from genmods.networks.autoencoder import Autoencoder
from genmods.networks.base import Network
from genmods.networks.cnn import CNN
from genmods.tasks.vae import VAETask


class Linear(Network):
    """Images [B, 1, 2, 2]; q(z | x) = N(E x, exp(logvar)), x_hat = W z, z [B, 2]."""

    def __init__(self, encoder, weight, logvar):
        super().__init__()
        self.encoder, self.weight = nn.Parameter(encoder), nn.Parameter(weight)
        self.logvar = nn.Parameter(logvar)

    def encode(self, x):
        mean = x.flatten(1) @ self.encoder.T
        return mean, self.logvar.expand_as(mean)

    def decode(self, z):
        return (z @ self.weight.T).view(-1, 1, 2, 2)


def linear_task(seed=0, **settings):
    generator = torch.Generator().manual_seed(seed)
    encoder, weight, logvar = (torch.randn(*shape, generator=generator) for shape in ((2, 4), (4, 2), (2,)))
    return VAETask(VAE(Linear(encoder, weight, logvar), image_size=2), **settings)


def test_the_kl_term_is_that_of_gaussians():
    task, images = linear_task(), torch.randn(5, 1, 2, 2)
    mean, logvar = task.model.network.encode(images)
    expected = kl_divergence(Normal(mean, (logvar / 2).exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(task.terms(images)[1], expected)


def test_the_reconstruction_without_latent_noise_is_a_normal_log_density():
    task, images = linear_task(sigma=0.3), torch.randn(5, 1, 2, 2)
    task.model.network.logvar.data.fill_(-80.0)
    decoded = task.model.network.decode(task.model.network.encode(images)[0])
    expected = -Normal(decoded, 0.3).log_prob(images).sum((1, 2, 3))
    torch.testing.assert_close(task.terms(images)[0], expected)


def test_the_bound_is_tight_at_the_true_posterior():
    """x = W z + sigma n: with q the posterior, reconstruction + KL is -log p(x)."""
    sigma, weight = 0.5, torch.tensor([[1.0, 0.0], [0.5, 0.0], [0.0, 2.0], [0.0, -1.0]])  # orthogonal columns
    precision = torch.eye(2) + weight.T @ weight / sigma**2
    encoder = precision.inverse() @ weight.T / sigma**2
    task = VAETask(VAE(Linear(encoder, weight, -precision.diag().log()), image_size=2), sigma=sigma)
    x = torch.tensor([0.3, -0.8, 1.1, 0.4])
    torch.manual_seed(0)
    error, kl = task.terms(x.view(1, 1, 2, 2).expand(200_000, -1, -1, -1))
    marginal = MultivariateNormal(torch.zeros(4), weight @ weight.T + sigma**2 * torch.eye(4))
    expected = -marginal.log_prob(x)
    assert float((error + kl).mean()) == pytest.approx(float(expected), abs=0.01)


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_the_loss_weighs_the_terms(beta):
    task, batch = linear_task(beta=beta), {"image": torch.randn(6, 1, 2, 2)}
    torch.manual_seed(1)
    error, kl = task.terms(batch["image"])
    torch.manual_seed(1)
    torch.testing.assert_close(task.training_step(batch, 0), error.mean() + beta * kl.mean())


def test_a_sample_depends_on_its_seed_and_number_alone():
    model = VAE(Autoencoder(image_size=8, width=4, multipliers=(1, 2)), image_size=8).eval()
    images = model.sample(10, seed=3, batch_size=3)
    torch.testing.assert_close(images, model.sample(10, seed=3, batch_size=7), atol=1e-5, rtol=0)
    torch.testing.assert_close(images[:4], model.sample(4, seed=3), atol=1e-5, rtol=0)
    told = []
    late = model.sample(4, seed=3, batch_size=3, first=6, progress=lambda *counts: told.append(counts))
    torch.testing.assert_close(images[6:], late, atol=1e-5, rtol=0)
    assert told == [(1, 2), (2, 2)]
    assert images.shape == (10, 1, 8, 8) and images.abs().max() <= 1
    assert not torch.allclose(images, model.sample(10, seed=4))


@pytest.mark.parametrize(
    ("settings", "line"),
    [({"sigma": 0.0}, "sigma must be above 0, got 0.0"), ({"beta": -1.0}, "beta must be at least 0, got -1.0")],
)
def test_settings_out_of_range(settings, line):
    with pytest.raises(ValueError, match=line):
        linear_task(**settings)


def test_a_network_that_is_not_an_autoencoder_is_refused():
    with pytest.raises(ValueError, match="requires an autoencoder with encode and decode, got CNN"):
        VAE(CNN(layers=("conv 4", "avgpool")))
