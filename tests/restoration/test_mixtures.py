"""Corruptions drawn per image: what is drawn, how often, and how strongly it corrupts."""

import pytest
import torch

from genmods.restoration.corruption import GaussianNoise, Jpeg, SaltAndPepper, SensorNoise
from genmods.restoration.mixtures import Chain, RandomChoice, UniformRange

GREY = torch.zeros(2000, 1, 4, 4)
KEYS = torch.arange(2000)


def test_strengths_are_uniform_between_two_and_known_per_image():
    std = UniformRange(GaussianNoise(10), GaussianNoise(50)).noise_std(GREY, KEYS)
    sigma = std[:, 0, 0, 0] * 255 / 2
    assert 10 <= sigma.min() < 10.2 and 49.8 < sigma.max() <= 50
    assert abs(sigma.mean() - 30) < 1 and abs(sigma.std() - 40 / 12**0.5) < 0.5


def test_the_noise_has_the_stated_strength():
    mixture = RandomChoice(
        [UniformRange(GaussianNoise(5), GaussianNoise(50)), Chain([UniformRange(GaussianNoise(3), GaussianNoise(9))])]
    )
    assert abs((mixture(GREY, KEYS) / mixture.noise_std(GREY, KEYS)).std() - 1) < 0.02


def test_whole_numbers_reach_both_ends_equally_often_and_lists_are_drawn_by_entry():
    between = UniformRange(Jpeg(80), Jpeg(84))
    counts = torch.tensor([between.draw(key).quality for key in KEYS]).bincount()[80:]
    assert len(counts) == 5 and counts.min() > 330
    drawn = UniformRange(SensorNoise([0, 10, 20]), SensorNoise([1, 11, 21])).draw(KEYS[5])
    fractions = {round(value % 10, 3) for value in drawn.read}
    assert [int(value) for value in drawn.read] == [0, 10, 20] and len(fractions - {0.0}) == 3


def test_one_of_several_is_as_likely_as_the_others():
    mixture = RandomChoice([GaussianNoise(10), SaltAndPepper(), Jpeg()])
    kinds = [type(mixture.draw(key)).__name__ for key in KEYS]
    assert all(600 < kinds.count(kind) < 735 for kind in ("GaussianNoise", "SaltAndPepper", "Jpeg"))


def test_an_image_depends_on_its_key_alone_in_a_mixture_of_mixtures():
    mixture = RandomChoice([UniformRange(GaussianNoise(1), GaussianNoise(50)), Chain([GaussianNoise(9), Jpeg(90)])])
    x = torch.rand(6, 3, 16, 16) * 2 - 1
    together, alone = mixture(x, KEYS[:6]), [mixture(x[i : i + 1], KEYS[i : i + 1]) for i in range(6)]
    assert torch.equal(together, torch.cat(alone))


def test_in_turn_compresses_the_noisy_image():
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    y = Chain([GaussianNoise(9), Jpeg(90)])(x, KEYS[:2])
    gray = (y + 1) * 127.5
    assert torch.allclose(gray, gray.round(), atol=1e-4, rtol=0)


def test_sensor_noise_grows_with_the_light_by_channel_and_stays_as_strong_when_smoothed():
    x = torch.stack([torch.full((3, 64, 64), level) for level in (-1.0, 0.0, 1.0)]).repeat(20, 1, 1, 1)
    for blur in (0.0, 1.0):
        noise = SensorNoise([2, 4, 6], gain=0.5, blur=blur)(x, torch.arange(60)) - x
        measured = (noise.view(20, 3, 3, -1) * 255 / 2).square().mean((0, 3))
        expected = torch.tensor([[4.0, 16, 36]]) + 0.5 * torch.tensor([[0.0], [127.5], [255]])
        assert ((measured / expected - 1).abs() < 0.06).all()
        neighbors = (noise[..., 1:] * noise[..., :-1]).mean() / noise.square().mean()
        assert abs(neighbors - (0.78 if blur else 0.0)) < 0.02  # exp(-1/(4 blur²)) for a Gaussian of 1 pixel


@pytest.mark.parametrize(
    "make",
    [
        lambda: RandomChoice([]),
        lambda: Chain([]),
        lambda: UniformRange(GaussianNoise(), Jpeg()),
        lambda: SensorNoise([-1]),
    ],
)
def test_what_cannot_be_mixed_is_refused(make):
    with pytest.raises(ValueError, match="got"):
        make()
