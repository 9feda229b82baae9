"""Where every deterministic sampler tends to, on every process: the Gaussian flow, and the flow of real images."""

import math
from functools import cache

import pytest
import torch
from test_samplers import NONE, ORDERS, each_process

from genmods.diffusion import EDMProcess, UniPCSampler
from support.oracles import Atoms, Gaussian


def limit(solve, order, steps=64):
    """What `solve(N)` of this order tends to, from N, 2 N and 4 N (Richardson, twice): exact up to order + 2."""
    one, two, four = (solve(n) for n in (steps, 2 * steps, 4 * steps))
    first, second = (b + (b - a) / (2**order - 1) for a, b in ((one, two), (two, four)))
    return second + (second - first) / (2 ** (order + 1) - 1)


def order_on(process, sampler, order):
    """Heun in the process' own time asks at a level for the rate, which on a discrete process is the next step's."""
    return 1 if process.levels is not None and getattr(sampler, "method", "") == "heun" else order


deterministic = pytest.mark.parametrize(
    "sampler, order",
    [(sampler, round((low + high) / 2)) for sampler, low, high in ORDERS],
    ids=lambda v: str(v) if not isinstance(v, int) else "",
)


def path(process, first, last, steps):
    """About `steps` times from one log-SNR to another, uniform in it.

    The rates of a discrete process jump at its levels: there it goes from level to level, in steps/64 steps each.
    """
    ends = process.time(torch.tensor([first, last], dtype=torch.float64)).detach()
    if process.levels is None:
        return process.time(torch.linspace(first, last, steps + 1, dtype=torch.float64)).detach()
    levels = len(process.levels)
    high, low = (ends * levels).round().long().tolist()
    return torch.linspace(high, low, (high - low) * (steps // 64) + 1, dtype=torch.float64) / levels


@deterministic
@each_process
def test_gaussian_flow(process, sampler, order):
    """x(t) = x(t0) √((α² c² + σ²)/(α0² c² + σ0²)) on every process."""
    c, x = 0.5, torch.ones(1, 1, dtype=torch.float64)

    def ratio(steps):
        grid = path(process, -4.5, 4.5, steps)
        std = torch.sqrt(process.alpha(grid) ** 2 * c**2 + process.sigma(grid) ** 2)
        return (sampler(Gaussian(process, c), x, grid, NONE) / (std[-1] / std[0])).item()

    assert abs(limit(ratio, order_on(process, sampler, order)) - 1) < 1e-5


@cache
def pixels():
    """2,000 real images: the 1,797 digits, some mirrored."""
    digits = torch.from_numpy(pytest.importorskip("sklearn.datasets").load_digits().images).double() / 8 - 1
    return torch.cat([digits, digits[:203].flip(2)]).flatten(1)


@cache
def pixel_flow(first, last):
    """Four starts at σ/α = `first`, and where their flow has them at `last`."""
    x = first * torch.randn(4, 64, generator=torch.Generator().manual_seed(0)).double()
    grid = torch.logspace(math.log10(first), math.log10(last), 1201, dtype=torch.float64)
    return x, UniPCSampler(order=3)(Atoms(EDMProcess(), pixels()), x, grid, NONE)


@deterministic
@each_process
def test_real_pixels(process, sampler, order):
    """The softmax denoiser over 2,000 images: every sampler tends to a reference flow, to 1e-4."""
    grid = path(process, -2 * math.log(3), -2 * math.log(0.1), 64)
    ends = (process.sigma(grid) / process.alpha(grid))[[0, -1]].tolist()
    z, true = pixel_flow(*(round(end, 12) for end in ends))

    def solve(steps):
        grid = path(process, -2 * math.log(3), -2 * math.log(0.1), steps)
        x = sampler(Atoms(process, pixels()), process.alpha(grid[0]) * z, grid, NONE)
        return x / process.alpha(grid[-1])

    assert (limit(solve, order_on(process, sampler, order)) - true).square().mean().sqrt() < 1e-4
