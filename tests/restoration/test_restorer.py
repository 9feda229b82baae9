"""`Restorer`: what the commands do with files, for tensors; on Gaussian images, whose posterior is known."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from genmods import UserError, register
from genmods.config import registry
from genmods.diffusion import ClassLabels, CosineProcess, LatentSpace
from genmods.metrics import psnr
from genmods.restoration import (
    DDNM,
    BoxMask,
    Gaussian,
    GaussianBlur,
    GaussianNoise,
    Grayscale,
    Restorer,
    SaltAndPepper,
    estimate_sigma,
)


@dataclass
class Mine(DDNM):
    """DDNM of another package."""


PLACE = torch.arange(8, dtype=torch.float64)
NEAR = torch.exp(-((PLACE[:, None] - PLACE) ** 2) / 8)


class Model:
    """What a diffusion model has, over smooth Gaussian images of `channels` x 8 x 8; keeps the labels that it sees."""

    device, dtype = torch.device("cpu"), None

    def __init__(self, channels=1):
        cov = 0.1 * torch.kron(torch.eye(channels, dtype=torch.float64), torch.kron(NEAR, NEAR))
        self.gaussian = Gaussian(torch.zeros(channels, 8, 8, dtype=torch.float64), cov + 1e-4 * torch.eye(len(cov)))
        self.image_shape, self.process, self.labels = (channels, 8, 8), CosineProcess(), []
        self.conditioning, self.latents = ClassLabels(num_classes=2, class_names=["coat", "shoe"]), LatentSpace()

    def diffusion_model(self):
        return self

    def denoise(self, cond):
        self.labels.append(cond["label"].tolist())
        return self.gaussian.denoise(self.process)


def images(n=3, channels=1):
    noise = torch.randn(n, channels, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    factor = torch.linalg.cholesky(0.1 * torch.kron(NEAR, NEAR) + 1e-4 * torch.eye(64))
    return (noise @ factor.T).view(n, channels, 8, 8).clamp(-1, 1).float()


def noisy(x, sigma):
    return x + sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))


def test_the_estimate_of_white_noise_is_the_posterior_mean():
    model, x = Model(), images()
    y = noisy(x, 0.2)
    found = Restorer(model).denoise(y, 0.2)
    flat = y.double().flatten(1)
    gain = model.gaussian.cov @ torch.linalg.inv(model.gaussian.cov + 0.04 * torch.eye(64))
    torch.testing.assert_close(found.double().flatten(1), (flat @ gain.T).clamp(-1, 1), atol=1e-4, rtol=0)


def test_each_image_has_its_noise_level():
    x, levels = images(), torch.tensor([0.1, 0.4, 0.1])
    y = noisy(x, levels.view(-1, 1, 1, 1))
    restorer = Restorer(Model(), steps=3)
    for act in (restorer.denoise, lambda y, s, **kw: restorer.inpaint(y, BoxMask(), s, **kw)):
        together = act(y, levels)
        for i in range(3):
            alone = act(y[i : i + 1], float(levels[i]), numbers=torch.tensor([i]))
            torch.testing.assert_close(together[i], alone[0], atol=1e-5, rtol=0)
    drawn = restorer.denoise(y, levels, samples=4)
    assert drawn.shape == (4, 3, 1, 8, 8) and drawn[:, 1].std(0).mean() > 1.3 * drawn[:, 0].std(0).mean()


@pytest.mark.parametrize("sigma", [0.1, "auto"])
def test_the_values_in_a_hole_do_not_matter(sigma):
    hole = BoxMask(2, 2, 4, 3)
    y = noisy(images(), 0.1)
    other = torch.where(hole.hole(8, 8), 5 * torch.rand(y.shape, generator=torch.Generator().manual_seed(3)), y)
    restorer = Restorer(Model(), steps=3)
    torch.testing.assert_close(restorer.inpaint(other, hole, sigma), restorer.inpaint(y, hole, sigma))
    torch.testing.assert_close(restorer.restore(other, hole, sigma), restorer.restore(y, hole, sigma))


def test_an_unknown_level_of_a_measurement_is_that_of_the_wavelets_in_the_known_pixels():
    y, hole, restorer = noisy(images(), 0.1), BoxMask(2, 2, 4, 3), Restorer(Model(), steps=3)
    level = estimate_sigma(y, ~hole.hole(8, 8))
    assert (level > 0.05).all() and not torch.allclose(level, estimate_sigma(y), rtol=1e-3)
    torch.testing.assert_close(restorer.inpaint(y, hole, "auto"), restorer.inpaint(y, hole, level))
    blur = GaussianBlur(1.0)
    torch.testing.assert_close(restorer.restore(y, blur, "auto"), restorer.restore(y, blur, estimate_sigma(y)))


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_samples_depend_on_seed_and_number_alone(batch_size):
    y = noisy(images(), 0.1)
    expected = Restorer(Model(), steps=3, seed=5).inpaint(y, BoxMask(), samples=2)
    found = Restorer(Model(), steps=3, seed=5, batch_size=batch_size).inpaint(y, BoxMask(), samples=2)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert not torch.allclose(Restorer(Model(), steps=3, seed=6).inpaint(y, BoxMask(), samples=2), expected, atol=1e-3)


@pytest.mark.parametrize(("own", "given"), [(1, 3), (3, 1)])
def test_images_of_other_channels(own, given):
    model, x = Model(own), images(2, 1).expand(-1, given, -1, -1)
    restorer, hole = Restorer(model, steps=2), torch.zeros(2, 8, 8, dtype=torch.bool)
    hole[0, 2:4, 3:6], hole[1, 5:7, 1:3] = True, True
    filled = restorer.inpaint(x, hole, label=["coat", "shoe"])
    assert filled.shape == x.shape and torch.equal(filled[~hole[:, None].expand_as(x)], x[~hole[:, None].expand_as(x)])
    assert model.labels[0] == ([0] * 3 + [1] * 3 if own == 1 else [0, 1])
    if given == 3:  # grey stays grey
        torch.testing.assert_close(filled[:, 0], filled[:, 2], atol=1e-6, rtol=0)
    assert restorer.denoise(noisy(x, 0.1)).shape == x.shape
    assert restorer.restore(x, GaussianBlur(1.0), 0.05, samples=2).shape == (2, *x.shape)


def test_grey_measurements_of_a_colour_model_become_colour():
    y = Grayscale()(images(2, 3))
    assert Restorer(Model(3), steps=2).restore(y, Grayscale()).shape == (2, 3, 8, 8)


def test_rounding_of_a_file_is_noise_for_a_blur():
    x, blur = images(8), GaussianBlur(1.5)
    y = blur(x)
    rounded = ((y + 1) * 127.5).round() / 127.5 - 1
    restorer = Restorer(Model())
    plain, exact = psnr(rounded.clamp(-1, 1), x), psnr(restorer.restore(y, blur, 2 / 255 / 12**0.5), x)
    found = psnr(restorer.restore(rounded, blur), x)
    assert (found > plain + 3).all() and found.mean() > exact.mean() - 1.5


def test_corruptions_and_unknown_levels():
    x, restorer = images(), Restorer(Model(), steps=5)
    y = SaltAndPepper(0.1)(x, torch.arange(3))
    assert restorer.denoise(y, corruption=SaltAndPepper(0.1)).shape == x.shape
    assert restorer.denoise(y, corruption=GaussianNoise(25.0), samples=2).shape == (2, *x.shape)
    y = noisy(x, 0.3)
    assert (psnr(restorer.denoise(y), x) > psnr(y.clamp(-1, 1), x)).all()


def test_a_registered_method_works_by_name(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    register("method", "mine")(Mine)
    y = noisy(images(), 0.1)
    mine, theirs = (Restorer(Model(), name, steps=3).inpaint(y, BoxMask()) for name in ("mine", "ddnm"))
    assert torch.equal(mine, theirs)
    with pytest.raises(UserError, match="no method is called 'mien'; did you mean 'mine'"):
        Restorer(Model(), "mien").inpaint(y, BoxMask())


@pytest.mark.parametrize(
    ("act", "line"),
    [
        (lambda r, x: r.denoise(x * 255, 0.1), r"images must lie on \[-1, 1\], got the value"),
        (lambda r, x: r.denoise(x[0], 0.1), r"images must have shape \[B, C, H, W\], got \[1, 8, 8\]"),
        (lambda r, x: r.denoise(x, torch.tensor([0.1])), r"sigma must be one number or have shape \[3\], got \[1\]"),
        (lambda r, x: r.denoise(x, "much"), "sigma must be auto or at least 0, got 'much'"),
        (lambda r, x: r.denoise(x, -0.1), "at least 0"),
        (lambda r, x: r.inpaint(x, torch.zeros(4, 4).bool()), r"hole must be bool \[8, 8\] or \[3, 8, 8\], got bool"),
        (lambda r, x: r.inpaint(x, torch.zeros(8, 8)), "got float32 "),
        (lambda r, x: r.denoise(x, 0.1, label="hat"), "condition label=hat: the classes are coat, shoe"),
        (lambda r, x: Restorer(r.model, steps=0), "steps must be at least 1, got 0"),
        (lambda r, x: Restorer(torch.nn.Linear(1, 1)), "restoration requires a diffusion model, got Linear"),
    ],
)
def test_mistakes_are_one_line(act, line):
    with pytest.raises(UserError, match=line) as error:
        act(Restorer(Model(), steps=2), images())
    assert "\n" not in str(error.value)
