"""Inversion, interpolation and variation with an exact model of Gaussian data: every result is known."""

import pytest
import torch

from genmods import UserError
from genmods.core import random
from genmods.diffusion import noise_stream
from genmods.diffusion.denoiser import matching_time
from genmods.diffusion.flow import flow_ends
from genmods.models import Editor, round_trip_error, slerp
from genmods.networks.autoencoder import Autoencoder
from support.gaussian_model import MEANS, STD, draw, gaussian_model


@pytest.fixture(scope="module")
def model():
    return gaussian_model()


@pytest.fixture(scope="module")
def images():
    return draw(3)


def ends(model):
    """α and √V at the clean and at the noisy end of the flow."""
    times = model.process.time(torch.tensor(model.process.log_snr_range, dtype=torch.float64))
    alpha, sigma = model.process.alpha(times), model.process.sigma(times)
    root = (alpha**2 * STD**2 + sigma**2).sqrt()
    return alpha[1], root[1], alpha[0], root[0]


def exact(model, images, mean):
    """The latents of N(mean, STD²): x_T = α_T m + √(V_T/V_0) (α_0 x - α_0 m), over its scale."""
    alpha, clean, last, noisy = ends(model)
    return (last * mean + noisy / clean * alpha * (images - mean)) / flow_ends(model.process)[1]


@pytest.mark.parametrize("label", [None, 0, 2])
def test_latents_are_those_of_the_closed_form(model, images, label):
    condition = None if label is None else {"label": label}
    found = Editor(model, steps=64).invert(images, condition)
    wanted = exact(model, images, 0.0 if label is None else MEANS[label])
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
    ddim = Editor(model, solver="ddim", steps=500).invert(images, condition)
    torch.testing.assert_close(ddim, wanted, rtol=0.02, atol=0.02)


def test_the_round_trip_is_exact_and_that_of_ddim_is_not(model, images):
    flow, ddim = (round_trip_error(Editor(model, s, n), images, {"label": 1}) for s, n in (("flow", 32), ("ddim", 128)))
    assert flow.max() < 1e-3 < ddim.max() < 0.05


def test_one_condition_per_image(model, images):
    together = Editor(model).invert(images, {"label": [0, 1, 2]})
    alone = [Editor(model).invert(images[i : i + 1], {"label": i}) for i in range(3)]
    torch.testing.assert_close(together, torch.cat(alone))


def test_images_between_two_images(model, images):
    first, second = images[:1], images[1:2]
    frames = Editor(model, batch_size=2).interpolate(first, second, 5, {"label": [2]})
    assert frames.shape == (5, 1, 1, 2, 2)
    torch.testing.assert_close(frames[[0, -1]].double(), torch.stack([first, second]).clamp(-1, 1), rtol=0, atol=2e-3)
    one, two = (exact(model, image, MEANS[2]) for image in (first, second))
    alpha, clean, last, noisy = ends(model)
    between = slerp(one, two, 0.25) * flow_ends(model.process)[1]
    wanted = MEANS[2] + (between - last * MEANS[2]) * clean / noisy / alpha
    torch.testing.assert_close(frames[1].double(), wanted.clamp(-1, 1), rtol=0, atol=2e-3)


def test_spherical_interpolation():
    """Perpendicular vectors: cos and sin; parallel ones: linear; the norm of equally long ones is kept."""
    x, y = torch.eye(2, dtype=torch.float64)[:, None, None]
    angle = torch.tensor(0.3 * torch.pi / 2, dtype=torch.float64)
    torch.testing.assert_close(slerp(x, y, 0.3).flatten(), torch.stack([angle.cos(), angle.sin()]))
    torch.testing.assert_close(slerp(x, 3 * x, 0.25), 1.5 * x)
    one, two = draw(4, seed=1), draw(4, seed=2)
    two = two * (one.flatten(1).norm(dim=1) / two.flatten(1).norm(dim=1)).view(-1, 1, 1, 1)
    torch.testing.assert_close(slerp(one, two, 0.7).flatten(1).norm(dim=1), one.flatten(1).norm(dim=1))


@pytest.mark.parametrize("sigma", [0.3, 2.0])
def test_variations_follow_the_flow_from_the_noisy_image(model, images, sigma):
    """x_t = α x + σ ε, and back: m + √(c²/V) (x_t - α m)."""
    found = Editor(model).vary(images, sigma, 2, {"label": 0}, seed=3)
    t = matching_time(model.process, torch.tensor([sigma]))
    alpha, std = model.process.alpha(t), model.process.sigma(t)
    for k in range(2):
        noise = noise_stream(3, random.fold(torch.arange(3), k), (1, 2, 2), dtype=torch.float64).initial()
        noisy = alpha * images + std * noise
        wanted = MEANS[0] + STD / (alpha**2 * STD**2 + std**2).sqrt() * (noisy - alpha * MEANS[0])
        torch.testing.assert_close(found[k], wanted.clamp(-1, 1).float().to(found), rtol=0, atol=0.02)


def test_a_variation_depends_on_its_number_only(model, images):
    whole = Editor(model).vary(images, 0.5, 2)
    part = Editor(model, batch_size=1).vary(images[2:], 0.5, 2, numbers=torch.tensor([2]))
    torch.testing.assert_close(whole[:, 2:], part, rtol=0, atol=1e-5)


def test_more_noise_moves_further_and_guidance_moves_towards_the_class(model, images):
    near, far = ((Editor(model).vary(images, sigma, 8) - images).square().mean().sqrt() for sigma in (0.1, 1.0))
    assert 2 * near < far
    plain, guided = (Editor(model).vary(images, 2.0, 8, {"label": 2}, guidance=w).mean() for w in (1.0, 2.0))
    assert guided > plain + 0.05


def test_latents_of_an_autoencoder():
    torch.manual_seed(0)
    codec = Autoencoder(image_size=8, in_channels=1, latent_channels=1)
    model = gaussian_model(size=8, codec=codec).float()
    editor, images = Editor(model), draw(2, 8).float()
    z = editor.invert(images)
    assert z.shape[1:] == model.latent_shape
    wanted = model.latents.decode(model.latents.encode(images))
    torch.testing.assert_close(editor.generate(z), wanted, rtol=0, atol=0.02)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e, x: e.vary(x, 0.0), "sigma must be above 0, got 0"),
        (lambda e, x: e.vary(x, float("inf")), "sigma must be above 0, got inf"),
        (lambda e, x: e.vary(x, 1.0, 0), "samples must be at least 1, got 0"),
        (lambda e, x: e.interpolate(x, x, 1), "frames must be at least 2, got 1"),
        (lambda e, x: e.interpolate(x, x[:1]), "images must have the same shape"),
        (lambda e, x: e.invert(x[..., :1]), "images must have shape [B, 1, 2, 2], got [3, 1, 2, 1]"),
        (lambda e, x: e.invert(x, {"label": 7}), "label=7"),
        (lambda e, x: e.invert(x, {"age": 7}), "the model is conditioned on label"),
    ],
)
def test_mistakes_are_one_line(model, images, call, message):
    with pytest.raises(UserError) as refused:
        call(Editor(model), images)
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_other_models_are_refused():
    with pytest.raises(UserError, match="editing requires a diffusion model, got Linear"):
        Editor(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        Editor(gaussian_model(), steps=0)
