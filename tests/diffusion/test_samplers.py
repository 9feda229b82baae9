"""Every registered sampler: measured order, exact flows, exact variances, and agreement on real pixels."""

import math

import pytest
import torch
from torch import nn

from genmods.config.builtins import BUILTINS
from genmods.diffusion import (
    ConsistencySampler,
    CosineProcess,
    DDIMSampler,
    DDPMSampler,
    Denoiser,
    EDMProcess,
    HeunSampler,
    LinearProcess,
    RectifiedProcess,
    SigmoidProcess,
    UniPCSampler,
    noise_stream,
)
from genmods.diffusion.guidance import Autoguidance, ClassifierFree, Interval, Threshold
from genmods.diffusion.samplers import DPMpp2MSampler, DPMpp2MSDESampler, DPMpp3MSampler, EulerSampler, FlowODESampler
from support.oracles import Atoms, Gaussian, Mixture, built_in, processes

PROCESSES = processes()
SAMPLERS = {
    name: built_in("sampler", name) for name in BUILTINS["sampler"] if "restoration" not in BUILTINS["sampler"][name]
}
GRIDS = {name: built_in("grid", name) for name in BUILTINS["grid"]}
PAIRS = [(p, q) for p in PROCESSES for q in BUILTINS["prediction"] if (p, q) != ("rectified", "eps")]
AVERAGING = {"mean_flow"}
STOCHASTIC = {"consistency", "ddpm", "dpmpp_2m_sde"}
NONE = noise_stream(0, torch.arange(1), (1,))
STRAIGHT = {"rectified", "edm"}


def takes(sampler: str, process: str) -> bool:
    """Whether the sampler steps on a grid of the process; mean_flow has models of another kind, see test_mean_flow."""
    return sampler not in AVERAGING and (sampler != "flow_ode" or process in STRAIGHT)


ORDERS = [
    (EulerSampler(), 0.95, 1.05),
    (DDIMSampler(), 0.95, 1.05),
    (HeunSampler(), 1.9, 2.1),
    (FlowODESampler(), 0.95, 1.05),
    (FlowODESampler(method="midpoint"), 1.9, 2.1),
    (FlowODESampler(method="heun"), 1.9, 2.1),
    (DPMpp2MSampler(), 1.9, 2.1),
    (DPMpp3MSampler(), 1.95, 2.15),
    (DPMpp3MSampler(difference="corrected"), 2.8, 3.2),
    (UniPCSampler(), 2.9, 3.1),
    (UniPCSampler(order=3), 3.4, 4.1),
]


def geometric(steps: int) -> torch.Tensor:
    return torch.logspace(1, math.log10(0.02), steps + 1, dtype=torch.float64)


@pytest.fixture(scope="module")
def mixture():
    process = EDMProcess()
    x = 10 * torch.randn(32, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    denoise = Mixture(process)
    return denoise, x, UniPCSampler(order=3)(denoise, x, geometric(1536), NONE)


@pytest.mark.parametrize("sampler, low, high", ORDERS, ids=lambda v: str(v) if not isinstance(v, float) else "")
def test_order(mixture, sampler, low, high):
    denoise, x, true = mixture
    errors = [(sampler(denoise, x, geometric(n), NONE) - true).norm() for n in (128, 512)]
    assert low <= math.log2(errors[0] / errors[1]) / 2 <= high


def test_every_deterministic_sampler_has_a_stated_order():
    """A sampler that arrives is named in ORDERS, or is known to be random."""
    assert {type(sampler) for sampler, _, _ in ORDERS} >= {
        SAMPLERS[name] for name in SAMPLERS.keys() - STOCHASTIC - AVERAGING
    }


each_process = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())


@pytest.mark.parametrize("process, name", [(p, s) for p in PROCESSES for s in SAMPLERS if takes(s, p)])
def test_a_known_image_is_reached(process, name):
    """Where the data are one point every sampler ends there, on every grid, from noise to noise-free data."""
    process = PROCESSES[process]
    point = torch.tensor([[0.3, -0.7]], dtype=torch.float64)
    noise = noise_stream(0, torch.arange(5), (2,), dtype=torch.float64)
    for grid in (None, *(cls() for cls in GRIDS.values())):
        sampler = SAMPLERS[name](steps=40, grid=grid)
        found = sampler.sample(Atoms(process, point), noise)
        spread = 4 * process.sigma(torch.tensor([process.t_min])).item()
        assert (found - point).abs().max() <= spread + 1e-2 * (process.t_min_trained == process.t_min) + 1e-9


class Affine(nn.Module):
    num_classes = 2

    def __init__(self, channels):
        super().__init__()
        self.mix = nn.Linear(channels, channels)

    def forward(self, x, log_snr, cond=None):
        return self.mix(x.movedim(1, -1)).movedim(-1, 1) * torch.sigmoid(log_snr / 4).view(-1, *[1] * (x.dim() - 1))


@pytest.mark.parametrize(
    "process, prediction, name", [(*pair, s) for pair in PAIRS for s in SAMPLERS if takes(s, pair[0])]
)
def test_every_combination_runs(process, prediction, name):
    """Sampler x process x prediction x guidance: finite, in the type of x, once a step, the same in any batch."""
    torch.manual_seed(0)
    process = PROCESSES[process]
    denoiser = Denoiser(Affine(2), process, built_in("prediction", prediction)())
    plain, worse = denoiser.conditioned({}), Denoiser(Affine(2), process, denoiser.prediction).conditioned({})
    guided = (
        plain,
        Threshold(ClassifierFree(plain, worse, 2.0)),
        Interval(Autoguidance(plain, worse, 1.5), plain, 0.3, 3.0),
    )
    sampler = SAMPLERS[name](steps=5)
    for denoise in guided:
        bar = []

        def run(indices, denoise=denoise, bar=bar):
            noise = noise_stream(3, torch.tensor(indices), (2,))
            return sampler.sample(denoise, noise, progress=lambda *done: bar.append(done))

        whole = run([0, 1, 2])
        assert whole.isfinite().all() and whole.dtype == torch.float32
        assert bar == [(i + 1, 5) for i in range(5)]
        torch.testing.assert_close(torch.cat([run([0]), run([1, 2])]), whole, rtol=1e-4, atol=1e-4)


def affine_steps(sampler, denoise):
    """The gain of x and of fresh noise in each step, for a linear denoiser."""
    grid = sampler.time_grid(denoise.process)
    one, zero = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    for i in range(len(grid) - 1):
        pair = grid[i : i + 2]
        yield (
            sampler(denoise, one, pair, lambda step: zero).item(),
            sampler(denoise, zero, pair, lambda step: one).item(),
        )


@pytest.mark.parametrize("c2, variance, end", [(1.0, "large", 0.9999), (0.25, "small", 0.24613)])
def test_ancestral_variance_by_recursion(c2, variance, end):
    """DDPM on N(0, c²) with T = 1000, against the recursion in plain numbers, and against the stated end."""
    process, total = LinearProcess(steps=1000), 1.0
    for gain, fresh in affine_steps(DDPMSampler(1000, variance=variance), Gaussian(process, c2**0.5)):
        total = gain**2 * total + fresh**2
    betas = [1e-4 + (0.02 - 1e-4) * i / 999 for i in range(1000)]
    bars = [1.0]
    for beta in betas:
        bars.append(bars[-1] * (1 - beta))
    want = 1.0
    for i in range(1000, 0, -1):
        bar, before, beta = bars[i], bars[i - 1], betas[i - 1]
        shrink = bar**0.5 * c2 / (bar * c2 + 1 - bar)
        mean = before**0.5 * beta / (1 - bar) * shrink + (1 - beta) ** 0.5 * (1 - before) / (1 - bar)
        noise = 0.0 if i == 1 else (beta if variance == "large" else beta * (1 - before) / (1 - bar))
        want = mean**2 * want + noise
    assert abs(total - want) < 1e-10
    assert abs(total - end) < 6e-6


@each_process
@pytest.mark.parametrize("steps", [5, 20, 100])
def test_the_large_variance_is_exact_for_white_noise(process, steps):
    """x0 ~ N(0, 1): at each time of the grid x has the variance α² + σ² of the process there."""
    process.requires_grad_(False)
    sampler = DDPMSampler(steps, variance="large")
    grid = sampler.time_grid(process)
    true = process.alpha(grid) ** 2 + process.sigma(grid) ** 2
    variance = process.prior_std**2
    for i, (gain, fresh) in enumerate(list(affine_steps(sampler, Gaussian(process)))[:-1]):
        variance = gain**2 * variance + fresh**2
        assert variance == pytest.approx(true[i + 1].item(), rel=1e-9)


@pytest.mark.parametrize("process", [CosineProcess(steps=1000), SigmoidProcess(steps=1000), CosineProcess()])
@pytest.mark.parametrize("steps", [5, 8, 10, 20, 50])
def test_heun_at_few_steps_ends_at_the_width_of_the_data(process, steps):
    """N(0, 0.5²): the standard deviation of samples, by the gains of the steps."""
    gains = [gain for gain, _ in affine_steps(HeunSampler(steps), Gaussian(process, 0.5))]
    found = process.prior_std * math.prod(gains)
    assert found == pytest.approx(0.5, rel=0.16 if steps < 8 else 0.1)


@each_process
def test_ancestral_variance_on_every_process(process):
    """The same from q(x_s | x_t, x0), a product of two normal densities, its mean at E[x0 | x_t]; DDIM, η = 1, too."""
    process.requires_grad_(False)
    c2, found, want = 0.25, 1.0, 1.0
    sampler = DDPMSampler(100)
    grid = sampler.time_grid(process)
    alpha, sigma = process.alpha(grid).tolist(), process.sigma(grid).tolist()
    for i, (gain, fresh) in enumerate(affine_steps(sampler, Gaussian(process, c2**0.5))):
        found = gain**2 * found + fresh**2
        ratio = alpha[i] / alpha[i + 1]
        forward = sigma[i] ** 2 - ratio**2 * sigma[i + 1] ** 2
        precision = ratio**2 / forward + (1 / sigma[i + 1] ** 2 if sigma[i + 1] else math.inf)
        of_x0 = 1.0 if not sigma[i + 1] else alpha[i + 1] / sigma[i + 1] ** 2 / precision
        mean = ratio / forward / precision + of_x0 * alpha[i] * c2 / (alpha[i] ** 2 * c2 + sigma[i] ** 2)
        want = mean**2 * want + (1 / precision if sigma[i + 1] else 0.0)
    assert abs(found / want - 1) < 1e-9
    other = 1.0
    for gain, fresh in affine_steps(DDIMSampler(100, eta=1.0), Gaussian(process, c2**0.5)):
        other = gain**2 * other + fresh**2
    assert abs(other / want - 1) < 1e-9


def test_ancestral_variance_by_sampling():
    process, count = LinearProcess(steps=1000), 2000
    noise = noise_stream(0, torch.arange(count), (1,), dtype=torch.float64)
    x = DDPMSampler(1000).sample(Gaussian(process, 0.5), noise)
    assert abs(x.var() - 0.24613) < 3 * 0.24613 * (2 / count) ** 0.5


def test_ddpm_is_ddim_with_eta_1():
    process = LinearProcess(steps=100)
    noise = noise_stream(0, torch.arange(4), (1,), dtype=torch.float64)
    a, b = (s.sample(Gaussian(process), noise) for s in (DDPMSampler(100), DDIMSampler(100, eta=1.0)))
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "sampler", [DDPMSampler(400), DDIMSampler(400, eta=1.0), DPMpp2MSDESampler(60)], ids=lambda s: type(s).__name__
)
@each_process
def test_posterior_sampling(process, sampler):
    """From y = x0 + n a sample of the reverse SDE has the error 2 MMSE: 3.01 dB below the denoiser, x0, n ~ N(0, 1).

    The sample is G y + Σ g_i z_i: one run, in which only z_i of sample i and y of the last one are 1, determines them.
    """
    steps, high = sampler.steps, process.log_snr_range[1]
    grid = process.time(torch.linspace(0, min(high, 9.0), steps + 1, dtype=torch.float64)).detach()
    ends = process.alpha(grid[0]).item(), process.alpha(grid[-1]).item()
    impulse = torch.eye(steps + 1, dtype=torch.float64)
    start = ends[0] * impulse[:, -1:]
    gains = sampler(Gaussian(process), start, grid, lambda i: impulse[:, i : i + 1]) / ends[1]
    whole = gains[-1].item()
    error = (1 - whole) ** 2 + whole**2 + gains[:-1].square().sum().item()
    assert abs(10 * math.log10(error / 0.5) - 3.01) < 0.05


@pytest.mark.parametrize("make", [EulerSampler, HeunSampler])
def test_churn_without_signal(make):
    """s is infinite at the start of rectified flow; there is no noise to add there, and afterwards there is."""
    noise = noise_stream(0, torch.arange(1), (1,), dtype=torch.float64)
    plain, churned = (make(8, churn=c).sample(Gaussian(RectifiedProcess()), noise) for c in (0.0, 4.0))
    assert churned.isfinite().all() and churned != plain


def test_every_random_sampler_is_tested():
    """The consistency sampler does not sample a denoiser's posterior; see test_laws.py."""
    tested = {DDPMSampler, DPMpp2MSDESampler, ConsistencySampler}
    assert {type(SAMPLERS[name]()) for name in STOCHASTIC} == tested


@pytest.mark.parametrize("name", SAMPLERS)
def test_mistakes(name):
    with pytest.raises(ValueError, match=r"steps must be at least .*, got 0") as caught:
        SAMPLERS[name](steps=0)
    assert "\n" not in str(caught.value)
    if takes(name, "linear"):
        with pytest.raises(ValueError, match="steps must be at most 100"):
            SAMPLERS[name](steps=101).time_grid(LinearProcess(steps=100))


@pytest.mark.parametrize("process", PROCESSES)
def test_the_flow_in_time_is_refused_where_it_is_curved(process):
    if process in STRAIGHT:
        assert len(FlowODESampler(4).time_grid(PROCESSES[process])) == 5
        return
    with pytest.raises(ValueError, match=r"flow_ode requires a process that is linear in time.*euler and heun"):
        FlowODESampler(4).sample(Gaussian(PROCESSES[process]), NONE)


BAD = [
    lambda: DDIMSampler(eta=2.0),
    lambda: DDPMSampler(variance="huge"),
    lambda: EulerSampler(churn=-1.0),
    lambda: FlowODESampler(method="rk9"),
    lambda: DPMpp2MSampler(steps=1),
    lambda: DPMpp2MSDESampler(steps=1),
    lambda: DPMpp3MSampler(steps=2),
    lambda: DPMpp3MSampler(difference="none"),
    lambda: UniPCSampler(steps=1),
    lambda: UniPCSampler(steps=2, order=3),
    lambda: UniPCSampler(order=4),
    lambda: GRIDS["karras"](rho=0.0),
]


@pytest.mark.parametrize("make", BAD)
def test_bad_settings(make):
    with pytest.raises(ValueError, match=r"must|at least") as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())
def test_grids_fall_from_end_to_end(process, grid):
    for steps in (1, 2, 10):
        times = GRIDS[grid]()(process, steps)
        assert times.shape == (steps + 1,) and times.dtype == torch.float64
        assert times[0] == process.t_max and abs(times[-1] - process.t_min) < 1e-9
        assert (times.diff() < 0).all()


def test_grid_forms():
    process = EDMProcess()
    i = torch.arange(18, dtype=torch.float64)
    want = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    torch.testing.assert_close(GRIDS["karras"]()(process, 18)[:-1], want, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(process.default_grid(18)[:-1], want, rtol=1e-9, atol=1e-9)
    steps = GRIDS["lambda"]()(RectifiedProcess(), 10)
    log_snr = RectifiedProcess().log_snr(steps)[1:-1]
    torch.testing.assert_close(log_snr.diff(), log_snr.diff()[:1].expand(8))
    angle = torch.atan2(process.sigma(steps := GRIDS["angle"]()(process, 10)), process.alpha(steps))
    share = angle / angle[0]
    torch.testing.assert_close(0.85 * share + 0.15 * share.sqrt(), torch.linspace(1, 0, 11).double())


def test_noise_of_a_sample_is_its_own():
    all_of_it = noise_stream(5, torch.arange(6), (1, 2, 3))
    part = noise_stream(5, torch.tensor([4, 1]), (1, 2, 3))
    torch.testing.assert_close(part(7), all_of_it(7)[[4, 1]])
    assert not torch.equal(all_of_it(0), all_of_it(1)) and not torch.equal(
        all_of_it(0), noise_stream(6, torch.arange(6), (1, 2, 3))(0)
    )
    assert part(-1).shape == (2, 1, 2, 3)
