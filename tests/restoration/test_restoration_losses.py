"""Losses of restoration against their closed forms on Gaussian data, where the best linear map is known."""

import pytest
import torch

from genmods.restoration.losses import SURE, Example, Noise2Noise, Noise2Void, Recorrupted, Supervised

S, SIGMA = 0.5, 0.3  # standard deviations of data and noise
N = 400


@pytest.fixture(scope="module")
def example():
    generator = torch.Generator().manual_seed(0)
    clean = S * torch.randn(N, 1, 16, 16, generator=generator, dtype=torch.float64)
    first, second = (clean + SIGMA * torch.randn(clean.shape, generator=generator).double() for _ in range(2))
    return Example(first, torch.arange(N), clean, second, torch.full_like(clean, SIGMA))


def shrinkage(gain):
    return lambda y, std: gain * y


def risk(gain):
    """The mean squared error of y -> gain·y for data of variance S² under noise of variance SIGMA²."""
    return (1 - gain) ** 2 * S**2 + gain**2 * SIGMA**2


@pytest.mark.parametrize("gain", [0.0, 0.4, S**2 / (S**2 + SIGMA**2), 1.0])
def test_sure_is_the_squared_error_without_seeing_the_clean_image(example, gain):
    blind = Example(example.measured, example.keys, std=example.std)
    assert abs(SURE()(shrinkage(gain), blind).mean() - risk(gain)) < 0.004


def test_sure_weighs_noise_that_differs_by_pixel():
    generator = torch.Generator().manual_seed(1)
    std = torch.linspace(0.1, 0.5, 16).double().expand(N, 1, 16, 16)
    clean = S * torch.randn(N, 1, 16, 16, generator=generator, dtype=torch.float64)
    y = clean + std * torch.randn(clean.shape, generator=generator).double()
    expected = (0.3**2 * S**2 + 0.7**2 * std.square()).mean()
    assert abs(SURE()(shrinkage(0.7), Example(y, torch.arange(N), std=std)).mean() - expected) < 0.004


@pytest.mark.parametrize("gain", [0.2, 0.7])
def test_noise2noise_is_the_supervised_loss_plus_the_variance_of_the_noise(example, gain):
    assert abs(Noise2Noise()(shrinkage(gain), example).mean() - risk(gain) - SIGMA**2) < 0.004


@pytest.mark.parametrize("tau", [0.5, 1.5])
@pytest.mark.parametrize("gain", [0.2, 0.7])
def test_recorrupted_is_the_squared_error_of_noisier_images_plus_a_constant(example, gain, tau):
    """The noise of the input has variance (1 + tau²) SIGMA², that of the target independently (1 + 1/tau²) SIGMA²."""
    blind = Example(example.measured, example.keys, std=example.std)
    error = (1 - gain) ** 2 * S**2 + gain**2 * (1 + tau**2) * SIGMA**2
    assert abs(Recorrupted(tau)(shrinkage(gain), blind).mean() - error - (1 + 1 / tau**2) * SIGMA**2) < 0.01


def best(loss, example):
    return min(torch.linspace(0.3, 1.0, 71).tolist(), key=lambda gain: loss(shrinkage(gain), example).mean().item())


@pytest.mark.parametrize(
    ("loss", "variance"),
    [(Supervised("l2"), SIGMA**2), (Noise2Noise(), SIGMA**2), (SURE(), SIGMA**2), (Recorrupted(0.5), 1.25 * SIGMA**2)],
)
def test_each_loss_is_least_at_the_wiener_gain(loss, variance, example):
    assert abs(best(loss, example) - S**2 / (S**2 + variance)) < 0.02


def test_noise2void_learns_the_mean_of_the_neighbours_and_never_the_pixel_itself():
    generator = torch.Generator().manual_seed(2)
    flat = torch.randn(N, 1, 1, 1, generator=generator).expand(N, 1, 16, 16)  # neighbours know all, the pixel nothing
    y = flat + SIGMA * torch.randn(flat.shape, generator=generator)

    def blurred(y, std):
        around = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(y, (1, 1, 1, 1), mode="reflect"), 3, 1)
        return (9 * around - y) / 8

    example = Example(y, torch.arange(N))
    identity, mean = (Noise2Void()(f, example).mean() for f in (lambda y, std: y, blurred))
    assert abs(mean - SIGMA**2 * (1 + 1 / 8)) < 0.01
    assert abs(identity - 2 * SIGMA**2) < 0.01


def test_noise2void_replaces_by_another_pixel_nearby():
    y = torch.arange(100.0).view(1, 1, 10, 10)
    other = Noise2Void(radius=1)._neighbor(y, torch.tensor([3]))
    assert (other != y).all()
    rows, columns = (other - y).abs() // 10, (other % 10 - y % 10).abs()
    assert rows.max() <= 1 and columns.max() <= 1


@pytest.mark.parametrize("radius", [1, 2, 5])
@pytest.mark.parametrize("size", [(3, 4), (1, 2), (5, 9)])
def test_noise2void_never_replaces_a_pixel_by_itself_at_the_border(radius, size):
    y = torch.arange(float(size[0] * size[1])).view(1, 1, *size).expand(400, -1, -1, -1)
    other = Noise2Void(radius=radius)._neighbor(y, torch.arange(400))
    assert (other != y).all()
    reachable = min(size[0], radius + 1) * min(size[1], radius + 1) - 1
    assert len(other[:, 0, 0, 0].unique()) == reachable


@pytest.mark.parametrize("name", ["l1", "l2", "charbonnier"])
def test_penalties_are_per_sample(name, example):
    loss = Supervised(name)(shrinkage(0.5), example)
    one = Supervised(name)(shrinkage(0.5), Example(example.measured[3:4], example.keys[3:4], example.clean[3:4]))
    assert loss.shape == (N,) and torch.allclose(loss[3], one[0])


@pytest.mark.parametrize(
    "make", [lambda: SURE(0), lambda: Recorrupted(-1), lambda: Noise2Void(0), lambda: Noise2Void(0.1, 0)]
)
def test_settings_out_of_range_are_refused(make):
    with pytest.raises(ValueError, match="got"):
        make()
