"""The sliced distance against closed forms and an assignment by scipy."""

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from genmods.metrics.base import EvaluationData
from genmods.metrics.features import pixel_features
from genmods.metrics.sliced import MongeDistance, sliced_distance


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_shift_counts_as_in_fid():
    x, shift = torch.randn(50, 12, generator=generator()), torch.linspace(-1, 2, 12)
    assert sliced_distance(x, (x + shift)[torch.randperm(50)], 20_000, generator(1)) == pytest.approx(
        float(shift.square().sum()), rel=0.03
    )


def test_a_dilation():
    """Every projection is dilated, so that the distance is (a - 1)² times the mean square."""
    x = torch.randn(80, 5, generator=generator())
    x = x - x.mean(0)
    expected = 0.25 * float(x.square().sum(1).mean())
    assert sliced_distance(x, 1.5 * x, 20_000, generator(1)) == pytest.approx(expected, rel=0.03)


def test_pairs_are_the_optimal_transport_of_each_line():
    x, y = torch.randn(30, 3, generator=generator()).double(), torch.rand(30, 3, generator=generator(1)).double()
    total, lines = 0.0, torch.nn.functional.normalize(torch.randn(70, 3, generator=generator(2)), dim=1).double()
    for line in lines:
        cost = ((x @ line)[:, None] - (y @ line)[None]).square().numpy()
        total += cost[linear_sum_assignment(cost)].mean()
    assert sliced_distance(x, y, 70, generator(2)) == pytest.approx(3 * total / 70, rel=1e-6)


def test_the_metric_and_its_value_for_test_images():
    g = generator(3)
    train, test = torch.randn(200, 1, 2, 2, generator=g), torch.randn(150, 1, 2, 2, generator=g)
    data = EvaluationData(
        train=train, test=test, generate=lambda n: test.new_ones(n, 1, 2, 2), features=pixel_features(), n=100
    )
    (figure,) = MongeDistance()(data).values
    assert figure.name == "mind_100" and figure.value > 10 * figure.held_out > 0
    with pytest.raises(ValueError, match="the sets must have the same size"):
        sliced_distance(torch.zeros(3, 2), torch.zeros(4, 2), 5, g)
