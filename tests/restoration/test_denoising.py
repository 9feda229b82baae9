import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from test_restore import draw, prior

from genmods.diffusion import NoiseProcess
from genmods.diffusion.prediction import consistent
from genmods.diffusion.process import per_sample
from genmods.diffusion.processes import (
    CosineProcess,
    EDMProcess,
    LinearProcess,
    RectifiedProcess,
    SigmoidProcess,
    VarianceExplodingProcess,
)
from genmods.diffusion.samplers import DPMpp2MSDESampler
from genmods.restoration.corrupted import denoise_corruption, impulses
from genmods.restoration.corruption import GaussianNoise, PoissonNoise, SaltAndPepper, SpeckleNoise
from genmods.restoration.denoising import (
    denoise,
    denoise_samples,
    grid_below,
    matching_time,
    refine_sigma,
)
from genmods.restoration.gaussian import Gaussian
from genmods.restoration.noise import BAND, SAMPLED, bands, estimate_sigma
from genmods.restoration.operators import Identity


@pytest.mark.parametrize("process", [CosineProcess(), LinearProcess(steps=1000), RectifiedProcess(), EDMProcess()])
def test_one_call_is_the_posterior_mean(process):
    gaussian = prior()
    truth = draw(gaussian, 3).double()
    for sigma in (0.05, 0.4):
        y = truth + sigma * torch.randn(truth.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        exact = gaussian.posterior_mean(Identity(), y, sigma).clamp(-1, 1)
        assert torch.allclose(denoise(y, gaussian.denoise(process), sigma), exact, atol=1e-6)


def test_samples_err_twice_as_much_as_the_mean():
    """E‖x - x̃‖² = 2 MMSE, 3.01 dB, and the mean of many draws is the estimate."""
    gaussian, process = prior(1), CosineProcess()
    gaussian = Gaussian(gaussian.mean, 0.1 * gaussian.cov)  # hardly a pixel leaves [-1, 1]
    truth = draw(gaussian, 40).double()
    model = gaussian.denoise(process)
    y = truth + 0.2 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mean = denoise(y, model, 0.2)
    draws = denoise_samples(y, model, 0.2, samples=16)
    ratio = (draws - truth).square().mean() / (mean - truth).square().mean()
    assert abs(10 * math.log10(ratio) - 3.01) < 0.3
    assert (draws.mean(0) - mean).square().mean() < 0.1 * (mean - truth).square().mean()


@dataclass
class Scalar:
    """The denoiser of N(0, c²), which notes when it is asked."""

    process: NoiseProcess
    c: float
    asked: list[float]

    def __call__(self, x, t):
        self.asked.append(t[0].item())
        alpha, sigma = per_sample(self.process.alpha(t), x), per_sample(self.process.sigma(t), x)
        return consistent(self.process, x, alpha * self.c**2 / (alpha**2 * self.c**2 + sigma**2) * x, t)


@pytest.mark.parametrize(
    "process",
    [
        CosineProcess(),
        LinearProcess(),
        LinearProcess(steps=1000),
        SigmoidProcess(),
        EDMProcess(),
        VarianceExplodingProcess(),
        RectifiedProcess(),
    ],
    ids=["cosine", "linear", "linear-1000", "sigmoid", "edm", "variance_exploding", "rectified"],
)
@pytest.mark.parametrize("sigma", [0.05, 0.2, 0.5, 1.5])
def test_draws_spread_as_the_posterior_does(process, sigma):
    """x ~ N(0, c²): a draw is c²/(c² + σ²) y + Σ g_i z_i with Σ g_i² = c² σ²/(c² + σ²), found from one run over unit
    vectors; and no call is at a time that the network has not learned."""
    units, sampler, asked = torch.eye(21, dtype=torch.float64), DPMpp2MSDESampler(20), []
    t = matching_time(process, torch.tensor([sigma], dtype=torch.float64))
    grid = grid_below(process, sampler, t.item())
    for c in (0.05, 0.3, 1.0):
        denoiser = Scalar(process, c, asked)
        draws = sampler(denoiser, process.alpha(t) * units[:, -1:], grid, lambda i: units[:, i : i + 1])
        share = c**2 / (c**2 + sigma**2)
        assert abs(draws[-1].item() / share - 1) < 2e-3
        assert abs(draws[:-1].square().sum().item() / (share * sigma**2) - 1) < 0.1
    assert min(asked) >= process.t_min_trained * (1 - 1e-9) and len(asked) == 60


@pytest.mark.parametrize("process", [CosineProcess(), EDMProcess(), VarianceExplodingProcess(0.0005)])
def test_the_least_noise_takes_one_step(process):
    x = torch.full((1, 1, 2, 2), 0.5, dtype=torch.float64)
    gaussian = Gaussian(torch.zeros(1, 2, 2, dtype=torch.float64), torch.eye(4, dtype=torch.float64))
    model = gaussian.denoise(process)
    assert (denoise_samples(x, model, 1e-3, samples=2) - x).abs().max() < 1e-5


def test_no_noise_changes_nothing():
    gaussian = prior(1)
    x = draw(gaussian, 2)
    assert torch.equal(denoise(x, gaussian.denoise(CosineProcess()), 0.0), x)


@pytest.mark.parametrize("sigma", [0.05, 0.2, 0.5])
def test_the_noise_level_is_found(sigma):
    flat = torch.linspace(-0.5, 0.5, 64).expand(8, 1, 64, 64)
    y = GaussianNoise(sigma * 127.5)(flat, torch.arange(8))
    assert (estimate_sigma(y) / sigma - 1).abs().max() < 0.1
    half = y.clone()
    half[..., :40] = -1.0  # a ground that no noise was added to
    assert (estimate_sigma(half) / sigma - 1).abs().max() < 0.15
    black = GaussianNoise(sigma * 127.5)(torch.full((8, 1, 64, 64), -1.0), torch.arange(8)).clamp(-1, 1)
    assert (estimate_sigma(black) / sigma - 1).abs().max() < 0.1


def gray(x, levels=256):
    """`x` in grey levels, as a file stores it."""
    return ((x.clamp(-1, 1) + 1) * (levels - 1) / 2).round() * 2 / (levels - 1) - 1


NOISES = [
    ("flat", 0.02, 256, 0.05),  # 2.5 levels
    ("black", 0.02, 256, 0.12),
    ("black", 0.1, 256, 0.06),
    ("flat", 0.2, 17, 0.06),  # 1.6 levels
    ("flat", 0.4, 256, 0.05),  # clipped
    ("bright", 0.2, 256, 0.06),
    ("bright", 0.4, 256, 0.06),
]


@pytest.mark.parametrize("ground, sigma, levels, bias", NOISES)
def test_the_noise_level_is_found_in_grey_levels_and_clipped(ground, sigma, levels, bias):
    """The mean over 48 images, whose standard error is 0.01 to 0.02; and the estimates are not few values."""
    x = torch.full((48, 1, 32, 32), {"flat": 0.2, "black": -1.0, "bright": 0.7}[ground])
    y = x + sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    found = estimate_sigma(gray(y, levels)) / sigma
    assert abs(found.mean() - 1) < bias
    assert len(found.unique()) > 40


def test_the_noise_level_is_found_from_the_known_pixels():
    generator = torch.Generator().manual_seed(4)
    y = torch.linspace(-0.5, 0.5, 128).expand(2, 1, 128, 128) + 0.1 * torch.randn(2, 1, 128, 128, generator=generator)
    known = torch.rand(2, 1, 128, 128, generator=generator) < 0.5
    for unknown in (0.0, 1.0, -3.0):
        found = estimate_sigma(torch.where(known, y, unknown), known)
        assert (found / 0.1 - 1).abs().max() < 0.15
    with pytest.raises(ValueError, match="no block of 2 x 2 pixels is known"):
        estimate_sigma(y, torch.arange(128) % 2 == 0)


def test_a_large_image_is_sampled_in_bands_of_rows():
    generator = torch.Generator().manual_seed(0)
    y = 0.3 * torch.linspace(0, 9, 1600).sin() * torch.ones(1, 1, 1500, 1)
    y = y + 0.1 * torch.randn(1, 1, 1500, 1600, generator=generator)
    rows, is_last = bands(y[0])
    assert 0.7 * SAMPLED < len(rows) * 1600 < SAMPLED and rows[0] == 0 and rows[-1] == 1499
    assert is_last.sum() * BAND == len(rows) and (rows.diff()[~is_last[:-1]] == 1).all()
    assert estimate_sigma(y).item() == pytest.approx(0.1, rel=5e-3)
    unlike = y.clone()
    unlike[..., rows[is_last], :] += torch.linspace(0, 1, 1600).square() * 5  # the last row of a band has no partner
    assert estimate_sigma(unlike).item() == pytest.approx(0.1, rel=5e-3)
    known = torch.zeros(1500, 1600, dtype=torch.bool)
    known[40:44, 200:600] = True  # between two bands
    assert estimate_sigma(y, known).item() == pytest.approx(0.1, rel=0.1)


def test_the_model_refines_the_noise_level():
    gaussian, process = prior(3), CosineProcess()
    gaussian = Gaussian(gaussian.mean, 0.1 * gaussian.cov)
    truth = draw(gaussian, 16)
    for sigma in (0.05, 0.2):
        y = truth + sigma * torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
        for start in (0.5, 2.0):
            found = refine_sigma(gaussian.denoise(process), y, torch.full((16,), start * sigma), rounds=6)
            assert abs(found.mean() / sigma - 1) < 0.1


@pytest.mark.parametrize("corruption", [PoissonNoise(20), SpeckleNoise(0.5), SaltAndPepper(0.2)])
def test_other_noise_is_removed(corruption):
    gaussian = prior(1, 16)
    truth = draw(gaussian, 4)
    y = corruption(truth, torch.arange(4))
    restored = denoise_corruption(y, gaussian.denoise(CosineProcess()), corruption, samples=4).mean(0)
    assert (restored - truth).square().mean() < 0.35 * (y - truth).square().mean()


def test_impulses_are_found_and_smooth_extremes_are_not():
    x = draw(prior(3, 16), 4) * 0.5
    x[..., :4] = -1.0
    hit = SaltAndPepper(0.1)(x, torch.arange(4))
    changed = (hit != x).any(1, keepdim=True)
    found = impulses(hit)
    assert (found & changed).sum() > 0.9 * changed.sum()
    assert (found & ~changed).sum() < 0.05 * changed.sum()


def drawing(kind):
    """An image [1, 3, 96, 96] of few colours in grey levels, without noise."""
    image = Image.new("RGB", (96, 96), "white")
    draw = ImageDraw.Draw(image)
    if kind == "disc":
        draw.ellipse([20, 20, 70, 70], fill=(255, 0, 0))
    elif kind == "lines":
        for k in range(9):
            draw.line([(3 * k, 11 * k), (95 - 7 * k, 5 * k)], fill="black", width=2)
    elif kind == "text":
        for top in range(0, 96, 14):
            draw.text((0, top), "The quick brown fox jumps", fill="black", font=ImageFont.load_default(14))
    else:
        side = int(kind)
        image = Image.fromarray((np.indices((96, 96)) // side).sum(0).astype(np.uint8) % 2 * 255).convert("RGB")
    return torch.from_numpy(np.asarray(image).transpose(2, 0, 1).astype(np.float32))[None] / 127.5 - 1


@pytest.mark.parametrize("kind", ["disc", "lines", "text", "1", "2", "5", "8"])
@pytest.mark.parametrize("ink", [-1.0, 1.0])
def test_drawings_and_texts_have_no_noise(kind, ink):
    """Their edges were read as noise of 60 to 340 grey levels."""
    clean = drawing(kind) * ink
    assert estimate_sigma(clean) == 0


@pytest.mark.parametrize("sigma", [5.0, 25.0])
def test_the_noise_of_a_drawing_is_found(sigma):
    noisy = gray(GaussianNoise(sigma)(drawing("8") * 0.4, torch.arange(1)))
    assert estimate_sigma(noisy).item() * 127.5 == pytest.approx(sigma, rel=0.06)
    half = noisy.clone()
    half[..., :56] = drawing("disc")[..., :56]  # beside a part without noise
    assert estimate_sigma(half).item() * 127.5 == pytest.approx(sigma, rel=0.1)


def test_a_ramp_without_diagonal_details_has_no_noise():
    ramp = torch.linspace(-1, 1, 64).expand(1, 1, 64, 64)
    assert estimate_sigma(gray(ramp)) == 0
