"""Every density, weighting and prediction: the effective weights, and a learned variance that learns the right one."""

import math

import pytest
import torch
from torch import nn

from genmods.config.builtins import BUILTINS
from genmods.core.batch import Share
from genmods.diffusion import (
    CosineProcess,
    Denoiser,
    DiffusionLoss,
    EDMProcess,
    EpsPrediction,
    KarrasPrediction,
    LearnedProcess,
    LinearProcess,
    LogNormalDensity,
    LowDiscrepancyDensity,
    VPrediction,
)
from genmods.diffusion.densities import UniformDensity
from genmods.diffusion.weightings import (
    EDM2Weighting,
    ElboWeighting,
    MinSNRWeighting,
    NoiseLevel,
    SigmoidWeighting,
    SimpleWeighting,
)
from support.oracles import Gaussian, Network, built_in, processes

PROCESSES = processes()
DENSITIES = {name: built_in("density", name)() for name in BUILTINS["density"]}
each_process = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())
each_density = pytest.mark.parametrize("density", DENSITIES.values(), ids=DENSITIES.keys())


@each_density
@each_process
def test_density_of_the_log_snr(process, density):
    """The stated density integrates to the fraction of times drawn, bin by bin."""
    u = (torch.arange(20000, dtype=torch.float64) + 0.5) / 20000
    with torch.no_grad():
        t = density(process, u)
        assert t.min() >= process.t_min_trained * (1 - 1e-12) and t.max() <= process.t_max * (1 + 1e-12)
        if process.levels is not None and isinstance(density, UniformDensity):
            torch.testing.assert_close(t.unique(), process.levels)
            return
        edges = torch.linspace(*process.log_snr_range, 1001, dtype=torch.float64)[1:-1]
        p = density.log_snr_density(process, process.time(edges))
        part = torch.trapezoid(p[200:600], edges[200:600])
        log_snr = process.log_snr(t)
        drawn = ((log_snr > edges[200]) & (log_snr <= edges[599])).double().mean()
    assert abs(part - drawn) < 2e-3


@pytest.mark.parametrize("world", [1, 4])
def test_low_discrepancy_spreads_the_batch_over_all_ranks(world):
    """Times uniform in t: the gaps between those of 64 samples, whoever has them, are all equal."""
    u = torch.cat([LowDiscrepancyDensity().numbers(64 // world, share=Share(5, r, world)) for r in range(world)])
    assert u.min() >= 0 and u.max() < 1
    around = torch.cat([u.sort().values, u.min()[None] + 1])
    torch.testing.assert_close(around.diff(), torch.full((64,), 1 / 64).double(), rtol=1e-9, atol=0)


def test_low_discrepancy_of_one_process_is_spread_and_drawn():
    density = LowDiscrepancyDensity()
    u, other = density.numbers(32), density.numbers(32)
    assert u.sort().values.diff().max() < 1.01 / 32 and not torch.equal(u, other)
    keyed = torch.stack([density.numbers(1, share=Share(key)) for key in range(400)])
    assert abs(keyed.mean() - 0.5) < 4 * 12**-0.5 / 20  # u_0 is uniform over batches


def test_the_mean_loss_of_four_ranks_varies_as_that_of_one_batch():
    """A loss that is linear in t: what is left of its variance over batches is that of u_0/B."""
    density, process = LowDiscrepancyDensity(), LinearProcess()

    def variance(ranks, size):
        means = []
        for key in range(300):
            shares = [Share(key, rank, ranks) for rank in range(ranks)]
            t = torch.cat([density(process, density.numbers(size, share=share)) for share in shares])
            means.append(t.mean())
        return torch.stack(means).var()

    assert variance(4, 16) < 1.5 * variance(1, 64)


@each_density
@pytest.mark.parametrize("prediction", BUILTINS["prediction"])
@pytest.mark.parametrize("process", ["cosine", "edm", "learned", "variance_exploding"])
def test_elbo_is_the_diffusion_term(process, prediction, density):
    """½ ln((1 + c² SNR_1)/(1 + c² SNR_0)) for N(0, c²), whatever the density and the prediction."""
    points = 4000 if process == "learned" else 400_000
    process, c = PROCESSES[process], 0.6
    prediction = built_in("prediction", prediction)()
    u = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    if isinstance(density, LogNormalDensity):
        density = LogNormalDensity(mean=-1.0, std=3.0)
    with torch.no_grad():
        t = density(process, u)
        level = NoiseLevel.at(process, prediction, t, density)
        noise = process.alpha(t) ** 2 * c**2 + process.sigma(t) ** 2
        eps_error = process.alpha(t) ** 2 * c**2 / noise
        loss = ElboWeighting()(level, eps_error / level.eps_gain).mean()
    low, high = (math.exp(v) for v in process.log_snr_range)
    assert abs(loss - 0.5 * math.log((1 + c**2 * high) / (1 + c**2 * low))) < 0.02


@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
@pytest.mark.parametrize("process", ["cosine-100", "linear-100", "sigmoid-100"])
def test_elbo_of_a_discrete_process_is_its_bound(process, prediction):
    """The loss of the exact denoiser of N(0, c²) over all levels is the diffusion term that `val/bpd` reports."""
    process, c = PROCESSES[process], 0.5
    prediction, oracle = built_in("prediction", prediction)(), Gaussian(process, c)
    denoiser = Denoiser(Network(oracle, process, prediction), process, prediction)
    u = ((torch.arange(100) + 0.5) / 100).double()
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]).double()  # exact for what is quadratic
    losses = []
    for sign_x0, sign_eps in signs:
        x0, eps = (sign.expand(100, 1) for sign in (c * sign_x0, sign_eps))
        losses.append(DiffusionLoss(weighting=ElboWeighting())(denoiser, x0, u=u, eps=eps).per_sample)
    nats = torch.stack(losses).mean(0)
    snr = process.log_snr(process.levels).exp()
    want = (0.5 * (snr[:-1] - snr[1:]) * c**2 / (1 + c**2 * snr[1:])).sum()
    torch.testing.assert_close(nats.mean(), want, rtol=1e-5, atol=0)
    assert nats[0] == 0


class _Exact(nn.Module):
    """The exact v of N(0, c²) on a variance preserving process, whatever its schedule."""

    def __init__(self, c):
        super().__init__()
        self.c = c

    def forward(self, x, log_snr, cond=None):
        alpha, sigma = (torch.sigmoid(sign * log_snr).sqrt()[:, None] for sign in (1, -1))
        x0 = alpha * self.c**2 / (alpha**2 * self.c**2 + sigma**2) * x
        return alpha * (x - alpha * x0) / sigma - sigma * x0


@pytest.mark.parametrize("weighting", [ElboWeighting(), SigmoidWeighting(2.0)], ids=["elbo", "sigmoid"])
def test_a_learned_schedule_lowers_the_variance_of_the_loss(weighting):
    """The expected loss depends on the ends alone; E[loss²] is least where a time is as probable as the error there."""
    process, loss = LearnedProcess(log_snr_min=-5.0, log_snr_max=9.0), DiffusionLoss(weighting=weighting)
    denoiser = Denoiser(_Exact(0.5), process, VPrediction())

    def moments():
        generator = torch.Generator().manual_seed(7)
        u = (torch.arange(40_000, dtype=torch.float64) + 0.5) / 40_000
        x0 = 0.5 * torch.randn(len(u), 1, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            losses = loss(denoiser, x0, u=u, generator=generator).per_sample
        return losses.mean().item(), losses.square().mean().sqrt().item()

    mean, rms = moments()
    optimizer, generator = torch.optim.Adam(process.parameters(), lr=0.02), torch.Generator().manual_seed(0)
    for _ in range(400):
        optimizer.zero_grad()
        x0 = 0.5 * torch.randn(256, 1, generator=generator, dtype=torch.float64)
        loss(denoiser, x0, generator=generator).per_sample.mean().backward()
        optimizer.step()
    after, less = moments()
    assert abs(after / mean - 1) < 0.03 and less < 0.92 * rms


def test_a_learned_schedule_is_trained_by_a_weighting_that_can():
    x0, denoiser = torch.zeros(2, 1), Denoiser(_Exact(0.5), LearnedProcess(), VPrediction())
    for loss in (DiffusionLoss(), DiffusionLoss(LogNormalDensity(), ElboWeighting())):
        with pytest.raises(ValueError, match="LearnedProcess requires the weighting elbo or sigmoid"):
            loss(denoiser, x0)
    denoiser.process.requires_grad_(False)
    assert DiffusionLoss()(denoiser, x0).per_sample.isfinite().all()


def test_published_weights():
    t = torch.tensor([0.01, 0.3, 0.9], dtype=torch.float64)
    process = LinearProcess()
    snr = process.log_snr(t).exp()

    def weight(weighting, prediction, process=process):
        return weighting.weight(NoiseLevel.at(process, prediction, t, UniformDensity()))

    torch.testing.assert_close(weight(SimpleWeighting(), VPrediction()), torch.ones(3).double())
    torch.testing.assert_close(weight(MinSNRWeighting(5.0), EpsPrediction()), (5 / snr).clamp(max=1))
    torch.testing.assert_close(weight(MinSNRWeighting(5.0), VPrediction()), snr.clamp(max=5) / (snr + 1))
    rate = -process.log_snr_rate(t) * (process.t_max - process.t_min_trained)
    torch.testing.assert_close(weight(ElboWeighting(), EpsPrediction()), 0.5 * rate)
    torch.testing.assert_close(weight(SigmoidWeighting(-1.0), EpsPrediction()), 0.5 * rate / (1 + math.e * snr))
    edm = built_in("weighting", "edm")(sigma_data=0.5)
    torch.testing.assert_close(weight(edm, KarrasPrediction(0.5), EDMProcess()), torch.ones(3).double())


@pytest.mark.parametrize("process", ["cosine", "rectified", "linear-100"])
@pytest.mark.parametrize("weighting", BUILTINS["weighting"])
def test_loss_is_finite_per_sample_and_trains(process, weighting):
    process = PROCESSES[process]
    network = nn.Linear(2, 2)
    denoiser = Denoiser(_Ignoring(network), process, VPrediction())
    loss = DiffusionLoss(LowDiscrepancyDensity(), built_in("weighting", weighting)())
    x0 = torch.randn(16, 2)
    first = loss(denoiser, x0, generator=torch.Generator().manual_seed(0))
    again = loss(denoiser, x0, generator=torch.Generator().manual_seed(0))
    assert first.per_sample.shape == first.error.shape == first.log_snr.shape == (16,)
    torch.testing.assert_close(first.per_sample, again.per_sample)
    first.per_sample.mean().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())


class _Ignoring(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x, log_snr, cond=None):
        return self.module(x)


def test_optimal_network_has_the_mmse():
    process, c = CosineProcess(), 0.6
    denoiser = Denoiser(Network(Gaussian(process, c), process, VPrediction()), process, VPrediction())
    x0 = c * torch.randn(20000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    result = DiffusionLoss()(denoiser, x0, generator=torch.Generator().manual_seed(1))
    alpha, sigma = process.alpha(result.t), process.sigma(result.t)
    want = (c**2 / (alpha**2 * c**2 + sigma**2)).mean()
    assert abs(result.error.mean() / want - 1) < 0.03


def test_edm2_learns_the_error_of_each_level():
    weighting = EDM2Weighting(channels=32)
    level = NoiseLevel(*torch.tensor([[-4.0, 0.0, 4.0], [1, 1, 1], [0, 0, 0], [1, 1, 1], [1, 1, 1]]).double())
    error = torch.tensor([0.1, 1.0, 3.0])
    optimizer = torch.optim.Adam(weighting.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        weighting(level, error).sum().backward()
        optimizer.step()
    torch.testing.assert_close(weighting.log_variance(level.log_snr).exp(), error, rtol=1e-2, atol=0)


class _Variance(nn.Module):
    """The exact ε of N(0, c²), and one number for the variance."""

    def __init__(self, process, c):
        super().__init__()
        self.optimal = Network(Gaussian(process, c), process, EpsPrediction())
        self.fraction = nn.Parameter(torch.zeros(()))

    def forward(self, x, log_snr, cond=None):
        eps = self.optimal(x, log_snr)
        return torch.cat([eps, torch.zeros_like(eps) + self.fraction], dim=1)


def test_learned_variance_finds_the_true_one():
    """For N(0, 1) the true reverse variance of a variance preserving process is the largest: the fraction goes to 1."""
    process = LinearProcess(steps=50)
    network = _Variance(process, 1.0)
    loss = DiffusionLoss(hybrid=1.0)
    denoiser = Denoiser(network, process, EpsPrediction())
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        optimizer.zero_grad()
        loss(denoiser, torch.randn(256, 1, generator=generator), generator=generator).per_sample.mean().backward()
        optimizer.step()
    assert abs(network.fraction - 1) < 0.15
    with pytest.raises(ValueError, match="discrete process"):
        loss(Denoiser(_Variance(LinearProcess(), 1.0), LinearProcess(), EpsPrediction()), torch.randn(4, 1))


@pytest.mark.parametrize(
    "make",
    [
        lambda: LogNormalDensity(std=0.0),
        lambda: MinSNRWeighting(0.0),
        lambda: EDM2Weighting(channels=0),
        lambda: EDM2Weighting(sigma_data=0.0),
        lambda: DiffusionLoss(hybrid=-1.0),
    ],
)
def test_mistakes(make):
    with pytest.raises(ValueError, match="must"):
        make()
