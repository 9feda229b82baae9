"""Every registered process: rates against autograd, the inverse, the ends, and the published schedules."""

from copy import deepcopy

import pytest
import torch

from genmods.config.builtins import BUILTINS
from genmods.diffusion import CosineProcess, LearnedProcess, LinearProcess, NoiseProcess, RectifiedProcess
from support.oracles import built_in, processes

PROCESSES = processes()
each = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())


def inner(process: NoiseProcess) -> torch.Tensor:
    share = torch.linspace(0.003, 0.997, 200, dtype=torch.float64)
    return process.t_min_trained + (process.t_max - process.t_min_trained) * share


@each
def test_rates_are_the_derivatives(process):
    t = inner(process).requires_grad_()
    pairs = (("alpha", "alpha_rate"), ("sigma", "sigma_rate"), ("log_snr", "log_snr_rate"))
    for value, rate in pairs:
        output = getattr(process, value)(t)
        (want,) = torch.autograd.grad(output.sum(), t) if output.requires_grad else (torch.zeros_like(t),)
        torch.testing.assert_close(getattr(process, rate)(t), want, rtol=1e-9, atol=1e-9)


@each
def test_time_inverts_log_snr(process):
    t = inner(process)
    torch.testing.assert_close(process.time(process.log_snr(t)), t, rtol=1e-9, atol=1e-12)
    assert (process.log_snr(t).diff() < 0).all()
    want = 2 * (process.alpha(t) / process.sigma(t)).log()
    torch.testing.assert_close(process.log_snr(t), want, rtol=1e-8, atol=1e-8)


@each
def test_ended_early_it_is_the_same_process(process):
    t, last = inner(process), process.t_max
    ended = process.truncated(t[100].item())
    assert ended.log_snr_range == (pytest.approx(process.log_snr(t[100]).item()), process.log_snr_range[1])
    assert torch.equal(ended.sigma(t), process.sigma(t)) and ended.default_grid(4)[0] == pytest.approx(t[100].item())
    assert process.t_max == last


@each
def test_ends(process):
    ends = torch.tensor([process.t_min, process.t_min_trained, process.t_max], dtype=torch.float64)
    alpha, sigma = process.alpha(ends), process.sigma(ends)
    assert alpha.isfinite().all() and sigma.isfinite().all()
    assert abs(alpha[0] - 1) < 1e-5 and sigma[0] < 2e-3
    assert process.t_min <= process.t_min_trained < process.t_max
    low, high = process.log_snr_range
    assert -14 < low < 0 < high < 14


@each
def test_moving_keeps_the_precision(process):
    t = inner(process)
    before = process.log_snr(t)
    process.bfloat16()
    assert all(tensor.device.type == "meta" for tensor in deepcopy(process).to("meta").float().state_dict().values())
    torch.testing.assert_close(process.log_snr(t), before, rtol=0, atol=0)


@each
def test_wrong_t_is_refused(process):
    x = torch.zeros(4, 2)
    for shape in ((), (1,), (4, 1)):
        with pytest.raises(ValueError, match="t must have shape"):
            process.diffuse(x, x, torch.full(shape, 0.5))


def test_linear_is_ddpm():
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    process = LinearProcess(steps=1000)
    torch.testing.assert_close(process.alpha(process.levels) ** 2, (1 - betas).cumprod(0), rtol=1e-12, atol=0)
    assert process.sigma(torch.tensor([0.0])).item() == 0


def test_cosine_is_iddpm():
    def bar(t):
        return torch.cos((t + 0.008) / 1.008 * torch.pi / 2) ** 2

    i = torch.arange(1, 1001, dtype=torch.float64)
    betas = (1 - bar(i / 1000) / bar((i - 1) / 1000)).clamp(max=0.999)
    process = CosineProcess(steps=1000)
    torch.testing.assert_close(process.alpha(process.levels) ** 2, (1 - betas).cumprod(0), rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", ["linear", "cosine", "sigmoid"])
def test_discrete_tends_to_continuous(name):
    cls = built_in("process", name)
    t = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    gaps = [(cls(steps=T).alpha(t) - cls().alpha(t)).abs().max().item() for T in (100, 1000)]
    assert gaps[1] < max(gaps[0] / 8, 1e-12)


def test_rectified_reaches_pure_noise():
    end = torch.tensor([1.0])
    assert RectifiedProcess().alpha(end).item() == 0 and RectifiedProcess().sigma(end).item() == 1


def test_learned_schedule_trains():
    process = LearnedProcess(learn_ends=True)
    t = torch.linspace(0, 1, 50, dtype=torch.float64)
    optimizer = torch.optim.Adam(process.parameters(), lr=0.05)
    target = 10 - 12 * t**2
    first = (process.log_snr(t) - target).square().mean()
    for _ in range(150):
        loss = (process.log_snr(t) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < first / 20
    assert (process.log_snr(t).diff() < 0).all()
    ends = process.log_snr(torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(ends, -process.ends.double(), rtol=1e-6, atol=1e-6)


MISTAKES = [
    ("linear", {"steps": 0}), ("linear", {"steps": 10}), ("linear", {"beta_min": -1.0}), ("cosine", {"offset": 2.0}),
    ("cosine", {"log_snr_min": 1.0}), ("sigmoid", {"tau": 0.0}), ("variance_exploding", {"sigma_min": 60.0}),
    ("edm", {"sigma_min": 0.0}), ("edm", {"rho": 0.0}), ("rectified", {"t_max": 2.0}), ("learned", {"width": 0}),
    ("learned", {"log_snr_min": 20.0}),
]  # fmt: skip


@pytest.mark.parametrize("name, settings", MISTAKES)
def test_mistakes(name, settings):
    with pytest.raises(ValueError, match="|".join(settings)) as caught:
        built_in("process", name)(**settings)
    assert "\n" not in str(caught.value)


def test_every_process_is_a_noise_process():
    assert all(issubclass(built_in("process", name), NoiseProcess) for name in BUILTINS["process"])
