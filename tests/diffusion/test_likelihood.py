"""Likelihoods against closed forms: the bound's terms, its gap, coins, uniform pixels, and the exact flow."""

import math

import pytest
import torch
from oracles import Atoms, Gaussian, Mixture, processes

from genmods.diffusion import EDM, Cosine, Estimate, Learned, Linear, ode, vlb
from genmods.diffusion.likelihood import _Flow, _probes

PROCESSES = processes()
each = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())


def straight() -> Learned:
    """VDM's process with a log-SNR linear in t, from 13.3 to -5."""
    process = Learned()
    process.height.data.fill_(-1e3)
    return process.requires_grad_(False)


def spread(process, c, count=4096):
    """Data whose mean square is exactly c², as the closed form of the mean takes it."""
    x = torch.randn(count, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return c * x / x.square().mean().sqrt()


@each
def test_gaussian_bound(process):
    """Diffusion ½ ln((1 + c² SNR_1)/(1 + c² SNR_0)) in continuous time, by quadrature over the log-SNR to 1e-6."""
    c = 0.5
    low, high = process.log_snr_range
    grid = torch.linspace(low, high, 200_001 if process.times is None else 2, dtype=torch.float64)
    if isinstance(process, Learned) or process.times is not None:
        return
    mid = (grid[1:] + grid[:-1]) / 2
    t = process.time(mid)
    x = torch.ones(1, 1, dtype=torch.float64).expand(len(t), 1)
    eps_of_x0 = Gaussian(process, c)(process.diffuse(x, 0 * x, t), t)
    alpha, sigma = process.alpha(t)[:, None], process.sigma(t)[:, None]
    gain0 = 1 - eps_of_x0.x0
    gain1 = Gaussian(process, c)(sigma, t).x0
    mmse = gain0.square() * c**2 + gain1.square()
    found = 0.5 * ((alpha / sigma) ** 2 * mmse).sum() * (high - low) / len(t)
    want = 0.5 * math.log((1 + c**2 * math.exp(high)) / (1 + c**2 * math.exp(low)))
    assert abs(found - want) < 1e-6 * want


def test_gaussian_bound_by_draws():
    process, c = straight(), 0.5
    x = spread(process, c)
    bits = vlb(Gaussian(process, c), process, x, levels=2, draws=32)
    want = 0.5 * math.log((1 + c**2 * math.exp(13.3)) / (1 + c**2 * math.exp(-5))) / math.log(2)
    assert abs(bits.diffusion.mean() / want - 1) < 0.01
    sigma2 = 1 / (1 + math.exp(-5))
    prior = 0.5 * ((1 - sigma2) * c**2 + sigma2 - 1 - math.log(sigma2)) / math.log(2)
    assert abs(bits.prior.mean() - prior) < 1e-6


def test_discrete_gap_falls_as_one_over_steps():
    """Exact, for N(0, c²): Σ ½ (SNR_s - SNR_t) mmse_t against the integral."""
    process, c = Cosine(), 0.5
    x = spread(process, c, 512)
    low, high = (process.log_snr(torch.tensor([t])).item() for t in (process.t_max, process.t_low))
    exact = 0.5 * math.log((1 + c**2 * math.exp(high)) / (1 + c**2 * math.exp(low)))

    def gap(steps):
        grid = process.time(torch.linspace(high, low, steps + 1, dtype=torch.float64))
        snr = process.log_snr(grid).exp()
        mmse = c**2 / (1 + c**2 * snr[1:])
        return (0.5 * (snr[:-1] - snr[1:]) * mmse).sum().item() - exact

    gaps = [gap(n) for n in (500, 1000, 2000)]
    assert gaps[0] > 0
    assert 1.9 < gaps[0] / gaps[1] < 2.1 and 1.95 < gaps[1] / gaps[2] < 2.05
    discrete = vlb(Gaussian(Linear(steps=100), c), Linear(steps=100), x, levels=2, draws=None)
    snr = Linear(steps=100).log_snr(Linear(steps=100).times).exp()
    want = (0.5 * (snr[:-1] - snr[1:]) * c**2 / (1 + c**2 * snr[1:])).sum() / math.log(2)
    assert abs(discrete.diffusion.mean() - want) < 3 * discrete.diffusion.std() / 512**0.5


def test_coins_and_uniform_pixels():
    """Two-point pixels: 1.0092 bits at T = 1000 (truth 1). 256 uniform levels: 8.298 at T = 250 (truth 8)."""
    process = straight()
    generator = torch.Generator().manual_seed(0)
    coins = torch.randint(0, 2, (64, 1, 8, 8), generator=generator).double() * 2 - 1
    bits = vlb(Atoms(process, torch.tensor([-1.0, 1.0]).double(), True), process, coins, 2, draws=None, steps=1000)
    assert abs(bits.total.mean() - 1.0092) < 3 * bits.total.std() / 8
    values = torch.linspace(-1, 1, 256, dtype=torch.float64)
    pixels = values[torch.arange(256).repeat(2).view(8, 1, 8, 8)]
    bits = vlb(Atoms(process, values, True), process, pixels, 256, draws=None, steps=250)
    assert abs(bits.total.mean() - 8.298) < 3 * 0.9 / 512**0.5
    bits = vlb(Atoms(process, values, True), process, pixels, 256, draws=64)
    assert abs(bits.total.mean() - 8.0) < 0.12


def test_coin_bound_is_tight_in_continuous_time():
    """I-MMSE: the denoiser's own error over all noise levels adds up to the entropy, 1 bit, plus the ends."""
    process = straight()
    coins = torch.randint(0, 2, (64, 64), generator=torch.Generator().manual_seed(0)).double() * 2 - 1
    bits = vlb(Atoms(process, torch.tensor([-1.0, 1.0]).double(), True), process, coins, 2, draws=128)
    assert abs(bits.total.mean() - 1) < 0.015


@each
def test_flow_density_of_a_mixture(process):
    """-log2 p(x) per dimension, exact divergence, against the mixture's own density."""
    process.requires_grad_(False)
    mixture = Mixture(process)
    x = mixture.draw(16)
    t = torch.full((16,), process.t_low, dtype=torch.float64)
    alpha = process.alpha(t)
    want = -(mixture.log_density(alpha[:, None] * x, t) + 2 * alpha.log()) / (2 * math.log(2))
    found = ode(mixture, process, x, levels=None, probes=None)
    low, _ = process.log_snr_range  # the data's mean, which the prior does not have, is left in x_T times α
    assert (found - want).abs().max() < 4e-3 + math.exp(low / 2)
    hutchinson = ode(mixture, process, x.repeat(8, 1), levels=None, probes=4, steps=64)
    assert abs(hutchinson.mean() - want.mean()) < 0.1


@each
def test_flow_density_of_a_gaussian(process):
    """Against its closed form, with the prior it is given: x_T = x √(V_T/V_0), V = α² c² + σ²."""
    c = 0.5
    x = torch.tensor([[-0.8], [0.1], [0.6]], dtype=torch.float64)
    ends = process.time(torch.tensor(process.log_snr_range, dtype=torch.float64)).detach()
    alpha, sigma = process.alpha(ends).detach(), process.sigma(ends).detach()
    last, first = alpha**2 * c**2 + sigma**2
    end = alpha[1] * x * (last / first).sqrt() / process.prior_std
    log_p = -end.square() / 2 - math.log(process.prior_std * math.sqrt(2 * math.pi))
    want = -(log_p + 0.5 * (last / first).log() + alpha[1].log()).squeeze(1) / math.log(2)
    found = ode(Gaussian(process, c), process, x, levels=None, probes=None, steps=128)
    torch.testing.assert_close(found, want, rtol=1e-5, atol=1e-5)


def test_bin_width():
    """The same density on a grid of L levels costs log2(2/(L - 1)) less a dimension, up to its slope within a bin."""
    process = EDM()
    x = 0.5 * torch.randn(64, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    density = ode(Gaussian(process, 0.5), process, x, levels=None, probes=None)
    images = ode(Gaussian(process, 0.5), process, x, levels=256, probes=None)
    assert abs((images - density).mean() + math.log2(2 / 255)) < 2e-3


def test_hutchinson_is_exact_on_diagonal_jacobians():
    process = Linear()
    x = torch.randn(4, 3, dtype=torch.float64)
    exact, estimate = (ode(Gaussian(process, 0.5), process, x, levels=None, probes=p, steps=8) for p in (None, 1))
    torch.testing.assert_close(exact, estimate, rtol=1e-6, atol=1e-6)


def test_hutchinson_variance():
    """For a Jacobian J the estimate has the variance 2 Σ_{i≠j} J_ij² (J symmetric), within chi-square's 4 sigma."""
    process, count = EDM(), 20000
    matrix = torch.tensor([[1.0, 0.6, -0.2], [0.6, 0.5, 0.3], [-0.2, 0.3, -1.0]], dtype=torch.float64)

    def denoise(x, t):
        return Estimate(torch.zeros_like(x), x @ matrix)

    x = torch.zeros(count, 3, dtype=torch.float64)
    flow = _Flow(denoise, process, _probes(0, torch.arange(count), x, 1))
    _, divergence = flow.velocity(x, 0.0)
    scale = -0.5  # dσ/dlog-SNR at σ = 1
    off = matrix.square().sum() - matrix.diagonal().square().sum()
    assert abs(divergence.mean() - scale * matrix.trace()) < 4 * (2 * off / count).sqrt() * abs(scale)
    assert abs(divergence.var() / (scale**2 * 2 * off) - 1) < 4 * (2 / count) ** 0.5 * 1.5


def test_an_image_has_its_own_noise():
    process = straight()
    coins = torch.randint(0, 2, (6, 4)).double() * 2 - 1
    denoise = Atoms(process, torch.tensor([-1.0, 1.0]).double(), True)
    whole = vlb(denoise, process, coins, 2)
    part = vlb(denoise, process, coins[3:], 2, indices=torch.arange(3, 6))
    torch.testing.assert_close(whole.total[3:], part.total)


def test_learned_ends_train_on_the_bound():
    process = Learned(learn_ends=True)
    bits = vlb(Gaussian(process, 0.5), process, torch.linspace(-1, 1, 16).double().view(4, 4), levels=17, draws=8)
    bits.total.mean().backward()
    assert process.ends.grad.isfinite().all() and process.ends.grad.abs().min() > 0


@pytest.mark.parametrize("call", [
    lambda d, p, x: vlb(d, p, x, levels=1), lambda d, p, x: vlb(d, p, x, draws=0),
    lambda d, p, x: vlb(d, p, x, draws=None),
    lambda d, p, x: ode(d, p, x, steps=0), lambda d, p, x: ode(d, p, x, probes=0),
    lambda d, p, x: ode(d, p, x, levels=0),
])  # fmt: skip
def test_mistakes(call):
    process = Linear()
    with pytest.raises(ValueError, match=r"at least|none"):
        call(Gaussian(process), process, torch.zeros(2, 2))
