"""The bound of the gain against its closed form for Gaussian images, and what it protects from."""

from dataclasses import dataclass, replace

import pytest
import torch
from test_restore import draw, prior

from genmods.diffusion.prediction import consistent
from genmods.diffusion.process import NoiseProcess, per_sample
from genmods.diffusion.processes import CosineProcess, EDMProcess
from genmods.restoration.denoising import denoise, estimate_noise, removable_noise
from genmods.restoration.gaussian import Gaussian
from genmods.restoration.noise_curve import NoiseCurve
from genmods.restoration.strength import gain, removable


@pytest.fixture(scope="module")
def images():
    """A Gaussian of small images, and 300 of them with white noise of 0.1."""
    gaussian = prior(1)
    gaussian = Gaussian(gaussian.mean, 0.1 * gaussian.cov)
    clean = draw(gaussian, 300).double()
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return gaussian, clean, clean + 0.1 * noise


def test_the_gain_is_the_decrease_of_the_squared_error(images):
    gaussian, clean, y = images
    model, level = gaussian.denoise(CosineProcess()), torch.full((300,), 0.1, dtype=torch.float64)
    bound = gain(model, y, level, torch.tensor(0.01), torch.arange(300)).mean().item()
    spectrum = torch.linalg.eigvalsh(gaussian.cov)
    exact = 0.01 - (0.01 * spectrum / (spectrum + 0.01)).mean().item()
    assert bound == pytest.approx(exact, rel=0.05)
    measured = ((y - clean).square() - (denoise(y, model, 0.1) - clean).square()).mean().item()
    assert bound == pytest.approx(measured, rel=0.1)


def test_it_is_a_lower_bound_for_smoothed_noise():
    """Only the part of the noise that is white counts."""
    gaussian = prior(1)
    gaussian = Gaussian(gaussian.mean, 0.1 * gaussian.cov)
    generator = torch.Generator().manual_seed(2)
    shape = (300, 1, 8, 8)
    white, rest = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    smooth = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(rest, (1, 1, 1, 1), mode="circular"), 3, 1) * 3
    clean = draw(gaussian, 300).double()
    y, model = clean + 0.05 * white + 0.1 * smooth, gaussian.denoise(CosineProcess())
    for level in (0.05, 0.1):
        bound = gain(
            model, y, torch.full((300,), level, dtype=torch.float64), torch.tensor(0.05**2), torch.arange(300)
        ).mean()
        measured = ((y - clean).square() - (denoise(y, model, level) - clean).square()).mean()
        assert bound < measured


def test_the_bound_is_largest_at_the_level_of_white_noise(images):
    gaussian, _, y = images
    model, level = gaussian.denoise(CosineProcess()), torch.full((300,), 0.1, dtype=torch.float64)
    half, whole, double = (
        gain(model, y, share * level, torch.tensor(0.01), torch.arange(300)).mean() for share in (0.5, 1.0, 2.0)
    )
    assert whole > 1.05 * half and whole > 1.05 * double


def test_an_overestimated_level_is_reduced():
    """A patch of white noise in the place of a large image: a share of one half of twice the level, less one step."""
    y = 0.1 * torch.randn(1, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    curve = replace(NoiseCurve.constant(torch.tensor([0.2])), white=torch.tensor([0.25]))
    clean = 0.2 * torch.randn(1, 1, 96, 96, generator=torch.Generator().manual_seed(1))
    share = removable(Shrinkage(CosineProcess(), 0.04), clean + y, curve)
    assert share.item() == pytest.approx(0.5**1.5)


@dataclass
class Shrinkage:
    """The denoiser of independent pixels of variance `variance`, for images of any size."""

    process: NoiseProcess
    variance: float

    def __call__(self, x, t):
        alpha, sigma = per_sample(self.process.alpha(t), x), per_sample(self.process.sigma(t), x)
        return consistent(self.process, x, alpha * self.variance / (alpha**2 * self.variance + sigma**2) * x, t)


@dataclass
class Local:
    """A denoiser of images of any size: each pixel becomes `gain` times itself at any noise level."""

    process: NoiseProcess
    gain: float

    def __call__(self, x, t):
        return consistent(self.process, x, self.gain * x / per_sample(self.process.alpha(t), x), t)


def test_a_model_that_would_spoil_the_image_changes_nothing():
    y = torch.linspace(-0.9, 0.9, 128).expand(2, 3, 128, 128)
    y = y + 0.02 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    model = Local(EDMProcess(), 0.2)
    curve = estimate_noise(y, model)
    assert (curve.level > 0.018).all() and removable_noise(y, model, curve).level.max() == 0
    assert torch.equal(denoise(y, model, curve), y.clamp(-1, 1))
    assert (denoise(y, model, curve.level) - y).abs().max() > 0.5, "unless the level is given the level"
