"""Coupling of noise and data by optimal transport, and the samplers that are valid for models of it."""

from itertools import permutations

import pytest
import torch
from scipy.stats import kstest

from genmods.diffusion import DDIMSampler, EulerSampler, HeunSampler, noise_stream, optimal_transport
from genmods.diffusion.processes import CosineProcess
from support.gaussians import Draws
from support.laws import MODELS, Normal, samplers
from support.oracles import built_in


def drawn(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def rows(x):
    return sorted(map(tuple, x.flatten(1).tolist()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_cost_is_the_least_of_all_permutations_within_each_group(dtype):
    x0, eps = drawn(13, 2, 3, 3, seed=1, dtype=dtype), drawn(13, 2, 3, 3, seed=2, dtype=dtype)
    groups = torch.tensor([2, 0, 2, 1, 5, 2, 0, 2, 1, 0, 2, 0, 0])
    coupled = optimal_transport(x0, eps, groups)
    assert coupled.dtype == dtype and coupled.shape == eps.shape
    for group in groups.unique():
        mine = groups == group
        data, noise = x0[mine].flatten(1).double(), eps[mine].flatten(1).double()
        assert rows(coupled[mine]) == rows(eps[mine])  # noise does not cross groups, and each is used once
        least = min((data - noise[list(order)]).square().sum() for order in permutations(range(len(data))))
        cost = (data - coupled[mine].flatten(1).double()).square().sum()
        torch.testing.assert_close(cost, least, rtol=1e-12, atol=0)
    assert torch.equal(coupled, optimal_transport(x0, eps, groups))


def test_groups_of_one_are_left_alone():
    x0, eps = drawn(6, 4, seed=1), drawn(6, 4, seed=2)
    assert torch.equal(optimal_transport(x0, eps, torch.arange(6)), eps)


def test_numbers_on_a_line_are_paired_by_rank():
    x0, eps = 3 * drawn(200, 1, seed=1) + 1, drawn(200, 1, seed=2)
    coupled = optimal_transport(x0, eps, torch.zeros(200, dtype=torch.int64))
    assert torch.equal(x0[:, 0].argsort(), coupled[:, 0].argsort())


def test_noise_is_normal_given_the_class():
    """Two classes far apart: across classes, the noise of each would be one half of the normal distribution."""
    labels = torch.arange(4000) % 2
    x0 = 5.0 * (2 * labels[:, None] - 1) + 0.1 * drawn(4000, 1, seed=1)
    eps = drawn(4000, 1, seed=2)

    def levels(groups):
        parts = zip(x0.split(100), eps.split(100), groups.split(100), strict=True)
        coupled = torch.cat([optimal_transport(*part) for part in parts])
        return [kstest(coupled[labels == k, 0], "norm").pvalue for k in (0, 1)]

    assert min(levels(labels)) > 0.01
    assert max(levels(torch.zeros_like(labels))) < 1e-30


def test_data_that_are_not_finite_do_not_stop_the_assignment():
    x0, eps = drawn(5, 2, seed=1), drawn(5, 2, seed=2)
    x0[1, 0] = torch.nan
    assert rows(optimal_transport(x0, eps, torch.zeros(5, dtype=torch.int64))) == rows(eps)


CHOICES = [built_in("sampler", name)(steps=4) for name in samplers()]
CHOICES += [DDIMSampler(4, eta=0.5), EulerSampler(4, churn=2.0), HeunSampler(4, churn=2.0)]


@pytest.mark.parametrize("sampler", CHOICES, ids=str)
def test_a_sampler_is_stochastic_if_its_result_depends_on_the_noise_of_steps(sampler):
    process = built_in("process", "rectified")() if type(sampler).__name__ == "FlowODESampler" else CosineProcess()
    start = noise_stream(0, torch.arange(3), (1,), dtype=torch.float64)

    def ends(scale):
        noise = Draws(lambda step: start(step) if step < 0 else scale * start(step))
        return sampler.sample(MODELS.get(type(sampler), Normal)(process), noise)

    assert sampler.stochastic == (not torch.equal(ends(1.0), ends(2.0)))
