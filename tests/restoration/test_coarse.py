"""Pairs of a coarser scale: the law of both noises, and what is learned from them."""

import pytest
import torch

from genmods.restoration.coarse import coarse_pair
from genmods.restoration.losses import Example, Noise2Noise

S, SIGMA, N = 0.5, 0.3, 400


def flat(side=16):
    """Clean images that look the same at all scales: constant, of variance S²."""
    generator = torch.Generator().manual_seed(0)
    return (S * torch.randn(N, 1, 1, 1, generator=generator, dtype=torch.float64)).expand(N, 1, side, side)


def example(twice, std=SIGMA, side=16):
    generator = torch.Generator().manual_seed(1)
    clean = flat(side)
    first, second = (clean + std * torch.randn(clean.shape, generator=generator).double() for _ in range(2))
    if twice:
        return Example(first, torch.arange(N), clean, second)
    return Example(first, torch.arange(N), std=torch.as_tensor(std).double().expand_as(clean))


@pytest.mark.parametrize(("twice", "factor", "left"), [(True, 2, 1 / 7), (True, 4, 1 / 31), (False, 2, 1 / 3)])
def test_the_input_has_the_noise_of_the_original_and_the_target_little(twice, factor, left):
    pair = coarse_pair(example(twice), factor)
    side = 16 // factor
    noise, rest = pair.measured - flat(side), pair.again - flat(side)
    assert abs(noise.var() / SIGMA**2 - 1) < 0.03
    assert abs(rest.var() / SIGMA**2 - left) < 0.03 * left + 0.002
    assert abs((noise * rest).mean()) < 0.02 * SIGMA**2


@pytest.mark.parametrize("twice", [True, False])
def test_noise_that_differs_by_row_keeps_its_level(twice):
    std = torch.linspace(0.1, 0.5, 8).double().repeat_interleave(2).view(1, 1, 16, 1)
    pair = coarse_pair(example(twice, std), 2)
    found = (pair.measured - flat(8)).std(dim=(0, 1, 3))
    assert (found / std[0, 0, ::2, 0] - 1).abs().max() < 0.05


@pytest.mark.parametrize("twice", [True, False])
def test_the_least_squared_error_is_that_of_the_wiener_gain(twice):
    pair = coarse_pair(example(twice), 2)
    loss = {
        g: Noise2Noise()(lambda y, std, g=g: g * y, pair).mean().item() for g in torch.linspace(0.4, 1, 61).tolist()
    }
    assert abs(min(loss, key=loss.__getitem__) - S**2 / (S**2 + SIGMA**2)) < 0.03


def test_noise_that_is_not_gaussian_keeps_its_law_with_two_measurements():
    """Salt and pepper noise: differences of two measurements have three values."""
    generator = torch.Generator().manual_seed(2)
    first, second = ((torch.rand(N, 1, 16, 16, generator=generator) < 0.1).float() for _ in range(2))
    pair = coarse_pair(Example(first, torch.arange(N), again=second), 2)
    drawn = (pair.measured - pair.again) * (7 / 8) ** 0.5 * 2**0.5
    assert set(drawn.round(decimals=3).unique().abs().tolist()) == {0.0, 1.0}


def test_odd_sides_lose_their_last_row():
    pair = coarse_pair(example(True, side=9), 2)
    assert pair.measured.shape == pair.again.shape == (N, 1, 4, 4)


def test_the_level_or_a_second_measurement_is_required():
    with pytest.raises(ValueError, match="`std`"):
        coarse_pair(Example(flat(), torch.arange(N)), 2)
