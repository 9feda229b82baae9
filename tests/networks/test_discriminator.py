import pytest
import torch

from genmods.networks.discriminator import Discriminator
from genmods.networks.generator import Generator


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (9, 13)])
def test_one_logit_an_image(size):
    assert Discriminator(width=8)(torch.randn(3, 1, *size)).shape == (3,)


def test_each_image_is_judged_alone():
    network, x = Discriminator(3, width=8), torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(network(x)[1:2], network(x[1:2]))


def test_a_gradient_penalty_has_gradients():
    network, x = Discriminator(width=8), torch.randn(2, 1, 8, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
    gradient.square().sum().backward()
    assert network.layers[0].weight.grad.any()


@pytest.mark.parametrize("size", [8, 28, 33])
def test_generated_images_have_the_size_and_range_of_pixels(size):
    images = Generator(latent=5, in_channels=3, image_size=size, width=8)(torch.randn(4, 5))
    assert images.shape == (4, 3, size, size)
    assert images.abs().max() <= 1


def test_the_latent_vector_matters():
    images = Generator(latent=4, image_size=8, width=8)(torch.randn(5, 4)).flatten(1)
    assert (torch.cdist(images, images) + torch.eye(5)).min() > 1e-3


def test_the_pair_can_play():
    """A generator follows the discriminator's gradient through every one of its parameters."""
    generator, discriminator = Generator(latent=4, image_size=8, width=8), Discriminator(width=8)
    for p in generator.parameters():
        if not p.any():
            torch.nn.init.normal_(p, std=0.1)
    discriminator(generator(torch.randn(6, 4))).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in generator.parameters())


@pytest.mark.parametrize("network", [Generator, Discriminator])
@pytest.mark.parametrize("settings", [{"width": 0}, {"multipliers": ()}, {"blocks": 0}])
def test_bad_settings_are_refused(network, settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        network(**settings)
