"""Likelihoods against closed forms: the bound's terms, its gap, coins, uniform pixels, and the exact flow."""

import math

import numpy as np
import pytest
import torch

from genmods.diffusion import EDMProcess, Estimate, LearnedProcess, LinearProcess, bound_bits_per_dim, flow_bits_per_dim
from genmods.diffusion.likelihood import _diffusion, _Flow, _prior, _probes, _reconstruction, _sum
from genmods.diffusion.processes import VarianceExplodingProcess
from genmods.metrics.fidelity import psnr
from support.oracles import Atoms, Gaussian, Mixture, Oracle, processes

PROCESSES = processes()
each = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())


def straight() -> LearnedProcess:
    """VDM's process with a log-SNR linear in t, from 13.3 to -5."""
    process = LearnedProcess()
    process.height.data.fill_(-1e3)
    return process.requires_grad_(False)


def expected(denoise, values, weights=None, nodes=2, grid=None, levels=2):
    """The bound in bits of one pixel, uniform over `values`, and its diffusion term in nats.

    ε by Gauss and Hermite (two nodes are exact for a linear denoiser), times by Gauss and Legendre or over `grid`.
    """
    weights = torch.ones_like(values) if weights is None else weights
    noise, share = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(nodes))
    x0, eps = (a.reshape(-1, 1) for a in torch.meshgrid(values, noise, indexing="ij"))
    weight = torch.outer(weights / weights.sum(), share / share.sum()).reshape(-1)
    if grid is None:
        points, gains = (torch.from_numpy(a) / 2 for a in np.polynomial.legendre.leggauss(400))
        points = points + 0.5
    else:
        points = (torch.arange(len(grid) - 1) + 0.5).double() / (len(grid) - 1)
        gains = torch.full_like(points, 1 / len(points))
    diffusion = 0.0
    for some, gain in zip(points.split(50), gains.split(50), strict=True):
        rows = [a.repeat(len(some), 1) for a in (x0, eps)]
        error = _sum(_diffusion(denoise, *rows, some.repeat_interleave(len(x0)), grid))
        diffusion += (error.view(len(some), -1) * weight).sum(1) @ gain
    ends = _sum(_prior(denoise.process, x0) + _reconstruction(denoise.process, x0, eps, levels)) @ weight
    return ((diffusion + ends) / math.log(2)).item(), diffusion.item()


@each
def test_gaussian_bound(process):
    """½ ln((1 + c² SNR_1)/(1 + c² SNR_0)) in continuous time, Σ ½ (SNR_s - SNR_t) c²/(1 + c² SNR_t) over levels."""
    process.requires_grad_(False)
    for c in (0.3, 1.0):
        snr = torch.tensor(process.log_snr_range, dtype=torch.float64).exp()
        want = 0.5 * (torch.log1p(c**2 * snr[1]) - torch.log1p(c**2 * snr[0])).item()
        if process.levels is not None:
            snr = process.log_snr(process.levels).exp()
            want = (0.5 * (snr[:-1] - snr[1:]) * c**2 / (1 + c**2 * snr[1:])).sum().item()
        _, found = expected(Gaussian(process, c), torch.tensor([-c, c]).double(), grid=process.levels)
        assert abs(found / want - 1) < 1e-6


@each
def test_discrete_gap_falls_as_one_over_steps(process):
    """For N(0, c²), steps uniform in the log-SNR: twice the steps, half the gap."""
    process.requires_grad_(False)
    c, values = 0.5, torch.tensor([-0.5, 0.5]).double()
    low, high = process.log_snr_range
    exact = 0.5 * math.log((1 + c**2 * math.exp(high)) / (1 + c**2 * math.exp(low)))
    gaps = []
    for steps in (250, 500, 1000):
        grid = process.time(torch.linspace(high, low, steps + 1, dtype=torch.float64))
        gaps.append(expected(Gaussian(process, c), values, grid=grid)[1] - exact)
    assert gaps[0] > 0 and abs(gaps[0] / gaps[1] - 2) < 0.1 and abs(gaps[1] / gaps[2] - 2) < 0.05


@each
def test_bound_by_few_times(process):
    """The mean of the estimates is the closed form, with one time per image too; the prior term is exact."""
    process.requires_grad_(False)
    c, count = 0.5, 1024
    x = torch.randn(count, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = c * x / x.square().mean().sqrt()
    _, diffusion = expected(Gaussian(process, c), torch.tensor([-c, c]).double(), grid=process.levels)
    for num_times in (1, 16):
        bits = bound_bits_per_dim(Gaussian(process, c), x, gray_levels=2, num_times=num_times)
        assert abs(bits.diffusion.mean() * math.log(2) - diffusion) < 4 * bits.diffusion.std() / count**0.5
        assert process.levels is not None or bits.diffusion.std() / bits.diffusion.mean() < 1.5
    end = torch.tensor([process.t_max], dtype=torch.float64)
    alpha, sigma = (f(end).item() / process.prior_std for f in (process.alpha, process.sigma))
    prior = 0.5 * (alpha**2 * c**2 + sigma**2 - 1 - 2 * math.log(sigma)) / math.log(2)
    assert abs(bits.prior.mean() - prior) < 1e-9


COIN = torch.tensor([-1.0, 1.0], dtype=torch.float64)
GREY = torch.linspace(-1, 1, 256, dtype=torch.float64)
SOME, SHARE = torch.tensor([*range(8), *range(12, 128, 8)]), torch.tensor([1.0] * 8 + [8.0] * 15).double()
"""Half of the 256 levels, by symmetry: each of the outermost, of the others one in eight."""


def test_stated_bounds_of_coins_and_uniform_pixels():
    """VDM's process, log-SNR linear from 13.3 to -5: coins 1.0092 at T = 1000, 256 uniform levels 8.298 at T = 250."""
    process = straight()
    steps = torch.linspace(0, 1, 1001, dtype=torch.float64)
    coins, _ = expected(Atoms(process, COIN, True), COIN, nodes=48, grid=steps)
    assert abs(coins - 1.0092) < 1e-4
    steps = torch.linspace(0, 1, 251, dtype=torch.float64)
    pixels, _ = expected(Atoms(process, GREY, True), GREY[SOME], SHARE, 24, steps, 256)
    assert abs(pixels - 8.298) < 5e-4


@each
def test_bound_is_the_entropy(process):
    """I-MMSE: in continuous time the exact denoiser's error over all noise levels adds up to 1 bit, and to 8."""
    process.requires_grad_(False)
    coins, _ = expected(Atoms(process, COIN, True), COIN, nodes=48, grid=process.levels)
    assert coins > 1 - 1e-4 if process.levels is not None else abs(coins - 1) < 1e-3
    if process.levels is None:
        pixels, _ = expected(Atoms(process, GREY, True), GREY[SOME], SHARE, 12, None, 256)
        assert abs(pixels - 8) < 8e-3


@pytest.mark.parametrize("process", [p for p in PROCESSES.values() if p.levels is None], ids=lambda p: type(p).__name__)
def test_the_psnr_curve_is_the_bound(process):
    """I-MMSE for a denoiser that is wrong: the PSNR of its one-call estimates, over the SNR, gives its own bound."""
    process.requires_grad_(False)
    denoise = Gaussian(process, 0.7)
    coins = COIN[torch.randint(0, 2, (256, 1, 8, 8), generator=torch.Generator().manual_seed(0))]
    eps = torch.randn(coins.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    low, high = process.log_snr_range
    log_snr = torch.linspace(low, high, 81, dtype=torch.float64)
    times = process.time(log_snr)
    error = []
    for t in times:
        t = t.expand(len(coins))
        decibel = psnr(denoise(process.diffuse(coins, eps, t), t).x0, coins)
        error.append((4 / 10 ** (decibel / 10)).mean())
    nats = 0.5 * torch.trapezoid(torch.stack(error) * log_snr.exp(), log_snr)
    _, bound = expected(denoise, COIN)
    assert abs(nats / bound - 1) < 0.01


@each
def test_flow_density_of_a_mixture(process):
    """-log2 p(x) per dimension, exact divergence, against the mixture's own density."""
    process.requires_grad_(False)
    mixture = Mixture(process)
    x = mixture.draw(16)
    t = torch.full((16,), process.t_min_trained, dtype=torch.float64)
    alpha = process.alpha(t)
    want = -(mixture.log_density(alpha[:, None] * x, t) + 2 * alpha.log()) / (2 * math.log(2))
    found = flow_bits_per_dim(mixture, x, gray_levels=None, probes=None)
    low, _ = process.log_snr_range  # the data's mean, which the prior does not have, is left in x_T times α
    assert (found - want).abs().max() < 4e-3 + math.exp(low / 2)
    hutchinson = flow_bits_per_dim(mixture, x.repeat(8, 1), gray_levels=None, probes=4, steps=64)
    assert abs(hutchinson.mean() - want.mean()) < 0.1


@each
def test_flow_density_of_a_gaussian(process):
    """Against its closed form, with the prior it is given: x_T = x √(V_T/V_0), V = α² c² + σ²."""
    c = 0.5
    x = torch.tensor([[-0.8], [0.1], [0.6]], dtype=torch.float64)
    ends = process.time(torch.tensor(process.log_snr_range, dtype=torch.float64)).detach()
    alpha, sigma = process.alpha(ends).detach(), process.sigma(ends).detach()
    last, first = alpha**2 * c**2 + sigma**2
    prior = torch.hypot(alpha[0], sigma[0])
    end = alpha[1] * x * (last / first).sqrt() / prior
    log_p = -end.square() / 2 - (prior * math.sqrt(2 * math.pi)).log()
    want = -(log_p + 0.5 * (last / first).log() + alpha[1].log()).squeeze(1) / math.log(2)
    found = flow_bits_per_dim(Gaussian(process, c), x, gray_levels=None, probes=None, steps=128)
    torch.testing.assert_close(found, want, rtol=1e-5, atol=1e-5)


def test_flow_density_of_a_process_beyond_the_limit_of_the_log_snr():
    """The flow ends at σ = 854, before the standard deviation of the noise at t_max."""
    process, x = VarianceExplodingProcess(sigma_max=5000.0), torch.tensor([[-0.8], [0.1], [0.6]], dtype=torch.float64)
    std = torch.hypot(torch.tensor(0.5).double(), process.sigma(torch.tensor(process.t_min_trained)))
    want = -torch.distributions.Normal(0.0, std).log_prob(x).squeeze(1) / math.log(2)
    found = flow_bits_per_dim(Gaussian(process, 0.5), x, gray_levels=None, probes=None, steps=128)
    torch.testing.assert_close(found, want, rtol=0, atol=1e-3)


def test_bin_width():
    """The same density on a grid of L levels costs log2(2/(L - 1)) less a dimension, up to its slope within a bin."""
    process = EDMProcess()
    x = 0.5 * torch.randn(64, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    density = flow_bits_per_dim(Gaussian(process, 0.5), x, gray_levels=None, probes=None)
    images = flow_bits_per_dim(Gaussian(process, 0.5), x, gray_levels=256, probes=None)
    assert abs((images - density).mean() + math.log2(2 / 255)) < 2e-3


def test_hutchinson_is_exact_on_diagonal_jacobians():
    process = LinearProcess()
    x = torch.randn(4, 3, dtype=torch.float64)
    exact, estimate = (
        flow_bits_per_dim(Gaussian(process, 0.5), x, gray_levels=None, probes=p, steps=8) for p in (None, 1)
    )
    torch.testing.assert_close(exact, estimate, rtol=1e-6, atol=1e-6)


def test_hutchinson_variance():
    """For a Jacobian J the estimate has the variance 2 Σ_{i≠j} J_ij² (J symmetric), within chi-square's 4 sigma."""
    count = 20000
    matrix = torch.tensor([[1.0, 0.6, -0.2], [0.6, 0.5, 0.3], [-0.2, 0.3, -1.0]], dtype=torch.float64)

    class LinearProcess(Oracle):
        def __call__(self, x, t):
            return Estimate(torch.zeros_like(x), x @ matrix)

    x = torch.zeros(count, 3, dtype=torch.float64)
    flow = _Flow(LinearProcess(EDMProcess()), _probes(torch.arange(count), x, 1))
    _, divergence = flow.velocity(x, 0.0)
    scale = -0.5  # dσ/dlog-SNR at σ = 1
    off = matrix.square().sum() - matrix.diagonal().square().sum()
    assert abs(divergence.mean() - scale * matrix.trace()) < 4 * (2 * off / count).sqrt() * abs(scale)
    assert abs(divergence.var() / (scale**2 * 2 * off) - 1) < 4 * (2 / count) ** 0.5 * 1.5


def test_an_image_has_its_own_noise():
    process = straight()
    coins = torch.randint(0, 2, (6, 4)).double() * 2 - 1
    denoise = Atoms(process, torch.tensor([-1.0, 1.0]).double(), True)
    whole = bound_bits_per_dim(denoise, coins, 2)
    part = bound_bits_per_dim(denoise, coins[3:], 2, indices=torch.arange(3, 6))
    torch.testing.assert_close(whole.total[3:], part.total)


def test_learned_ends_train_on_the_bound():
    process = LearnedProcess(learn_ends=True)
    bits = bound_bits_per_dim(
        Gaussian(process, 0.5), torch.linspace(-1, 1, 16).double().view(4, 4), gray_levels=17, num_times=8
    )
    bits.total.mean().backward()
    assert process.ends.grad.isfinite().all() and process.ends.grad.abs().min() > 0


@pytest.mark.parametrize(
    "call",
    [
        lambda d, x: bound_bits_per_dim(d, x, gray_levels=1),
        lambda d, x: bound_bits_per_dim(d, x, num_times=0),
        lambda d, x: bound_bits_per_dim(d, x, num_times=None),
        lambda d, x: flow_bits_per_dim(d, x, steps=0),
        lambda d, x: flow_bits_per_dim(d, x, probes=0),
        lambda d, x: flow_bits_per_dim(d, x, gray_levels=0),
    ],
)
def test_mistakes(call):
    with pytest.raises(ValueError, match="must be"):
        call(Gaussian(LinearProcess()), torch.zeros(2, 2))
