"""The noise of photographs against the noise that was added: by channel and brightness, correlated, clipped."""

from dataclasses import replace

import pytest
import torch
from test_restore import prior

from genmods.data.images import to_float, to_uint8
from genmods.diffusion.processes import CosineProcess
from genmods.restoration.corruption import GaussianNoise, Jpeg, SensorNoise
from genmods.restoration.denoising import denoise, estimate_noise, noise_level
from genmods.restoration.mixtures import Chain
from genmods.restoration.noise import estimate_sigma
from genmods.restoration.noise_curve import NoiseCurve, noise_curve

KEYS = torch.tensor([5])


def scene(side=192, low=-0.8, high=0.8, texture=0.0):
    """A smooth colour image of all grey levels between `low` and `high`, of which a quarter is covered with texture."""
    place = torch.linspace(0, 1, side)
    ramp = torch.stack([place.expand(side, side), place[:, None].expand(side, side), 1 - place.expand(side, side)])
    image = low + (high - low) * ramp
    pattern = torch.randn(3, side // 4, side, generator=torch.Generator().manual_seed(1))
    image[:, : side // 4] += texture * pattern
    return image[None].clamp(-0.9, 0.9) if texture else image[None]


def rounded(x):
    return to_float(to_uint8(x.clamp(-1, 1)))


def truth(noisy, clean, where=slice(None)):
    """The standard deviation of the noise per channel in some rows."""
    return (noisy - clean)[0, :, where].square().mean((1, 2)).sqrt()


@pytest.mark.parametrize("stored", [lambda x: x, rounded])
@pytest.mark.parametrize(("texture", "excess"), [(0.0, 0.06), (0.3, 0.2)])
def test_the_level_of_each_channel(stored, texture, excess):
    clean = scene(texture=texture)
    noisy = stored(SensorNoise([3.0, 6.0, 9.0])(clean, KEYS))
    found = noise_curve(noisy).std(noisy)[0].square().mean((1, 2)).sqrt()
    ratio = found / truth(noisy, clean)
    assert ratio.min() > 0.94 and ratio.max() < 1 + excess


@pytest.mark.parametrize(("read", "gain"), [(1.0, 0.5), (4.0, 0.1)])
def test_the_variance_grows_with_the_brightness(read, gain):
    clean = scene()
    noise = SensorNoise([read], gain)
    noisy = rounded(noise(clean, KEYS))
    assert (noise_curve(noisy).std(noisy) / noise.std(clean) - 1)[..., 8:-8, 8:-8].abs().max() < 0.3
    assert (noise_curve(noisy).std(noisy) / noise.std(clean)).mean() == pytest.approx(1, abs=0.06)


def test_the_variance_may_decrease_with_the_brightness():
    """As after the tone curve of a camera."""
    clean = scene()
    std = 0.05 - 0.03 * clean
    noisy = rounded(clean + std * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)))
    found = noise_curve(noisy).std(noisy)
    assert (found / std).mean() == pytest.approx(1, abs=0.1)
    assert found[clean < -0.5].mean() > 1.5 * found[clean > 0.5].mean()


@pytest.mark.parametrize("quality", [None, 92])
@pytest.mark.parametrize("level", [5.0, 10.0])
def test_correlated_noise_is_not_underestimated(quality, level):
    clean, noise = scene(), SensorNoise([level], blur=0.8)
    noise = noise if quality is None else Chain([noise, Jpeg(quality)])
    noisy = rounded(noise(clean, KEYS))
    known = truth(noisy, clean).square().mean().sqrt()
    assert estimate_sigma(noisy) < 0.6 * known, "the finest wavelets do not see it"
    assert noise_curve(noisy).level.item() == pytest.approx(known.item(), rel=0.2)


@pytest.mark.parametrize("sigma", [5.0, 25.0])
def test_clipped_pixels_do_not_lower_the_level(sigma):
    clean = scene(low=-1.0, high=1.0)
    noisy = rounded(GaussianNoise(sigma)(clean, KEYS))
    assert noise_curve(noisy).level.item() * 127.5 == pytest.approx(sigma, rel=0.06)
    assert estimate_sigma(noisy).item() * 127.5 == pytest.approx(sigma, rel=0.06), "the ends are no background"


@pytest.mark.parametrize("texture", [0.05, 0.2])
def test_the_level_is_never_below_that_of_the_wavelets(texture):
    noisy = torch.cat([rounded(GaussianNoise(s)(scene(128, texture=texture), KEYS)) for s in (0.0, 20.0)])
    noisy[0, :, 32:] = 0.1  # most blocks are constant
    model = prior(3).denoise(CosineProcess())
    assert (noise_curve(noisy).level >= estimate_sigma(noisy)).all()
    assert torch.equal(noise_level(noisy, model), noise_curve(noisy).level), "a model does not lower it"


def test_only_known_pixels_count():
    clean = scene()
    noisy = GaussianNoise(5.0)(clean, KEYS)
    known = torch.ones(1, 1, 192, 192, dtype=torch.bool)
    known[..., 96:] = False
    spoiled = torch.where(known, noisy, torch.randn(noisy.shape, generator=torch.Generator().manual_seed(3)))
    assert noise_curve(spoiled, known).level.item() * 127.5 == pytest.approx(5, rel=0.06)


def test_images_without_noise_and_channels_that_are_constant():
    flat = torch.full((1, 3, 128, 128), 0.2)
    assert noise_curve(flat).level == 0
    one = flat.clone()
    one[:, 1] += 0.1 * torch.randn(128, 128, generator=torch.Generator().manual_seed(0))
    curve = noise_curve(one)
    assert curve.variance.isfinite().all() and curve.light.isfinite().all()
    assert curve.std(one)[0, 1].mean().item() == pytest.approx(0.1, rel=0.1)
    assert curve.std(one)[0, 0].max() < 0.01


@pytest.mark.parametrize("size", [(2, 2), (5, 900), (8, 900), (70, 70)])
def test_images_with_few_blocks_have_one_level(size):
    noisy = SensorNoise([3.0, 9.0, 9.0])(torch.zeros(1, 3, *size), KEYS)
    curve = noise_curve(noisy)
    assert torch.equal(curve.level, estimate_sigma(noisy))
    assert torch.allclose(curve.std(noisy), curve.level.expand_as(noisy))


def test_each_image_of_a_batch_has_its_own_curve():
    noisy = torch.cat([SensorNoise([s], gain)(scene(128), KEYS) for s, gain in ((2.0, 0.0), (3.0, 0.8), (12.0, 0.0))])
    together, alone = noise_curve(noisy), [noise_curve(image[None]) for image in noisy]
    for name in ("light", "variance", "level"):
        assert torch.equal(getattr(together, name), torch.cat([getattr(curve, name) for curve in alone]))


def test_each_pixel_is_denoised_at_its_level():
    """Where the noise has one level, the estimate is that for this level; the grid of levels is fine enough."""
    gaussian = prior(3)
    model = gaussian.denoise(CosineProcess())
    half = gaussian.mean.shape[-1] // 2
    y = torch.randn(2, *gaussian.mean.shape, generator=torch.Generator().manual_seed(0)) * 0.2
    y[..., :half] -= 0.6
    y[..., half:] += 0.6
    curve = NoiseCurve(
        torch.tensor([-0.3, 0.3]).expand(2, 3, 2),
        torch.tensor([0.02, 0.3]).square().expand(2, 3, 2),
        torch.full((2,), 0.2),
        torch.ones(2),
    )
    mixed = denoise(y, model, curve)
    assert torch.allclose(mixed[..., 0], denoise(y, model, 0.02)[..., 0], atol=1e-5)
    assert torch.allclose(mixed[..., -1], denoise(y, model, 0.3)[..., -1], atol=1e-5)
    between = replace(curve, light=curve.light * 1e4)
    middle = ((0.02**2 + 0.3**2) / 2) ** 0.5
    assert torch.allclose(denoise(y, model, between), denoise(y, model, middle), atol=0.02)
    assert torch.equal(denoise(y, model, NoiseCurve.constant(curve.level)), denoise(y, model, 0.2))


def test_small_images_are_refined_by_the_model():
    gaussian = prior(1)
    y = gaussian.mean + 0.1 * torch.randn(4, *gaussian.mean.shape, generator=torch.Generator().manual_seed(0))
    curve = estimate_noise(y.float(), gaussian.denoise(CosineProcess()))
    assert curve.variance.shape == (4, 1, 2) and torch.equal(curve.level.square(), curve.variance[:, 0, 0])
