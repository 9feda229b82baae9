import math

import torch

from genmods.core import random


def test_philox_agrees_with_the_published_vectors():
    """Known-answer vectors of the Random123 distribution for philox4x32-10."""
    ones = torch.tensor([0xFFFFFFFF])
    zero = torch.tensor([0])
    assert [int(w) for w in random.philox((zero,) * 4, (zero,) * 2)] == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert [int(w) for w in random.philox((ones,) * 4, (ones,) * 2)] == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]


def test_a_row_depends_on_its_key_alone():
    keys = torch.arange(10) * 7919
    for draw in (random.uniform, random.normal):
        whole = draw(keys, 33, 5)
        assert torch.equal(whole[3:5], draw(keys[3:5], 33, 5))
        assert not torch.equal(whole, draw(keys, 33, 6))
        assert whole.unique().numel() > 0.99 * whole.numel()


def test_moments_are_those_of_the_distribution():
    n = 400_000
    keys = random.fold(7, torch.arange(n // 100))
    u, z = random.uniform(keys, 100).double(), random.normal(keys, 100).double()
    assert abs(u.mean() - 0.5) < 4 * math.sqrt(1 / 12 / n)
    assert abs(z.mean()) < 4 / math.sqrt(n)
    assert abs(z.var() - 1) < 4 * math.sqrt(2 / n)
    assert abs(z.pow(4).mean() - 3) < 4 * math.sqrt(96 / n)
    assert abs((z[:, 0] * z[:, 1]).mean()) < 4 / math.sqrt(n // 100)
    counts = (10 * u).long().flatten().bincount(minlength=10)
    assert counts.shape == (10,)
    assert ((counts - n / 10) ** 2 / (n / 10)).sum() < 30  # chi-square, 9 degrees of freedom


def test_fold_separates_what_it_folds():
    keys = random.fold(torch.arange(50)[:, None, None], torch.arange(20)[:, None], torch.arange(20))
    assert keys.unique().numel() == 50 * 20 * 20
    assert int(random.fold(1, 2)) != int(random.fold(2, 1))
    assert int(random.fold(1, 2)) == int(random.fold(torch.tensor(1), torch.tensor(2)))
