"""Average velocities: the derivative along the flow, the fixed point on Gaussian data, guidance, and the sampler."""

import pytest
import torch
from torch import nn

from genmods.config.builtins import BUILTINS
from genmods.core.errors import UserError
from genmods.diffusion import (
    ClassifierFree,
    Denoiser,
    LowDiscrepancyDensity,
    MeanFlowLoss,
    MeanFlowSampler,
    UniformDensity,
    VPrediction,
    noise_stream,
)
from genmods.diffusion.mean_flow import estimated, velocity, velocity_change
from support.flow_maps import FlowMap, average_velocity
from support.oracles import built_in, processes

PROCESSES = {name: process.requires_grad_(False) for name, process in processes().items()}
C = 0.5
"""The standard deviation of the data."""


def times(process, count=12):
    """Pairs t > r, from the least noise to the most."""
    low, high = process.log_snr_range
    t = process.time(torch.linspace(max(low, -8.0), high - 1, count, dtype=torch.float64))
    r = process.time(torch.linspace(max(low, -7.0), high, count, dtype=torch.float64))
    return t, torch.minimum(r, t)


@pytest.mark.parametrize("prediction", sorted(set(BUILTINS["prediction"]) - {"flow"}))
@pytest.mark.parametrize("process", PROCESSES)
def test_velocity_is_average_and_its_change(process, prediction):
    """v = u + (t - r) du/dt on every process: the derivative along the flow, against both in closed form."""
    process = PROCESSES[process]
    try:
        denoiser = Denoiser(FlowMap(prediction, C), process, built_in("prediction", prediction)())
    except ValueError:
        return
    t, r = times(process)
    x = torch.randn(len(t), 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = x * torch.hypot(process.alpha(t), process.sigma(t))[:, None]
    later, earlier = (torch.sigmoid(-process.log_snr(time) / 2)[:, None] for time in (t, r))
    z = x / (process.alpha(t) + process.sigma(t))[:, None]
    want = average_velocity(z, later, later, C) - average_velocity(z, later, earlier, C)
    torch.testing.assert_close(velocity_change(denoiser, x, t, r, {}), want, rtol=1e-6, atol=1e-7)


class Changed(FlowMap):
    """An exact network plus a multiple of its input in each of six bands of the gap t - r."""

    def __init__(self, prediction, c=C):
        super().__init__(prediction, c)
        self.change = nn.Parameter(torch.zeros(6).double())

    def average(self, z, t, r, cond):
        return super().average(z, t, r, cond) + self.change[(6 * (t - r)).long().clamp(0, 5)] * z


class Instantaneous(Changed):
    """The velocity at t in place of the average."""

    def average(self, z, t, r, cond):
        return average_velocity(z, t, t, self.c) + self.change[(6 * (t - r)).long().clamp(0, 5)] * z


def pull(network, process):
    """The gradient [6] of the mean loss, over its standard error."""
    denoiser, count = Denoiser(network("v"), process, VPrediction()), 2400
    generator = torch.Generator().manual_seed(0)
    x0, eps = torch.randn(2, count, 4, generator=generator, dtype=torch.float64)
    loss = MeanFlowLoss(gaps=1.0)
    parts = []
    for rows in torch.arange(count).chunk(12):
        u = torch.rand(2, len(rows), generator=generator, dtype=torch.float64)
        mean = loss(denoiser, C * x0[rows], u=u, eps=eps[rows]).per_sample.mean()
        parts.append(torch.autograd.grad(mean, denoiser.network.change)[0])
    parts = torch.stack(parts)
    return parts.mean(0) / (parts.std(0) / len(parts) ** 0.5)


@pytest.mark.parametrize("process", PROCESSES)
def test_the_average_velocity_is_its_fixed_point(process):
    """There is no pull at u, in any band of gaps; from the velocity itself there is."""
    assert (pull(Changed, PROCESSES[process]).abs() < 4.5).all()
    assert pull(Instantaneous, PROCESSES[process]).abs().max() > 10


class Gain(nn.Module):
    """A network that multiplies its input by a polynomial of the two times."""

    two_times = True

    def __init__(self):
        super().__init__()
        self.factors = nn.Parameter(torch.zeros(5, 5))

    def forward(self, x, log_snr, cond=None):
        t, r = (torch.sigmoid(-one / 2).to(x) for one in (log_snr, (cond or {}).get("end", log_snr)))
        powers = torch.arange(5, device=x.device)
        gain = torch.einsum("bi,ij,bj->b", (2 * t[:, None] - 1) ** powers, self.factors, (2 * r[:, None] - 1) ** powers)
        return gain[:, None] * x


def test_training_ends_at_the_average_velocity():
    torch.manual_seed(0)
    denoiser = Denoiser(Gain(), PROCESSES["rectified"], built_in("prediction", "flow")(), sigma_data=C)
    loss, steps = MeanFlowLoss(LowDiscrepancyDensity(), gaps=0.75), 300
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=0.04, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(denoiser, C * torch.randn(128, 16)).per_sample.mean().backward()
        optimizer.step()
        schedule.step()
    noise = noise_stream(0, torch.arange(4), (16,))
    with torch.no_grad():
        for steps in (1, 2, 4):
            samples = MeanFlowSampler(steps).sample(denoiser.conditioned({}), noise)
            torch.testing.assert_close(samples, C * noise.initial(), rtol=0.1, atol=0)


class TwoClasses(FlowMap):
    """Class 0 with standard deviation 0.3, class 1 with 0.8, none: the mean of their velocities; guided, for r = t."""

    guided = True

    def __init__(self, prediction):
        super().__init__(prediction)
        self.change = nn.Parameter(torch.zeros(()).double())

    def average(self, z, t, r, cond):
        first, second = (average_velocity(z, t, t, c) for c in (0.3, 0.8))
        plain, label = (first + second) / 2, cond["label"][:, None]
        scale = cond.get("guidance", torch.ones(len(z)).double())[:, None]
        guided = plain + scale * (torch.where(label == 0, first, second) - plain)
        return torch.where(label < 0, plain, guided) + self.change * z


def test_the_guided_velocity_is_its_fixed_point():
    """v_0 + w (v - v_0), by the target of the loss with the network's velocities, for data of either class."""
    denoiser = Denoiser(TwoClasses("v"), PROCESSES["rectified"], VPrediction())
    loss, count = MeanFlowLoss(UniformDensity(), gaps=0.0, max_guidance=4.0), 4000
    torch.manual_seed(0)
    for label, c in ((0, 0.3), (1, 0.8)):
        cond, null = ({"label": torch.full((count,), k)} for k in (label, -1))
        parts = []
        for _ in range(10):
            mean = loss(denoiser, c * torch.randn(count, 4).double(), cond, null).per_sample.mean()
            parts.append(torch.autograd.grad(mean, denoiser.network.change)[0])
        parts = torch.stack(parts)
        assert abs(parts.mean() / parts.std() * len(parts) ** 0.5) < 4.5
        assert parts.std() > 0


def test_some_samples_have_two_times():
    process = PROCESSES["cosine"]
    t, r = MeanFlowLoss(UniformDensity()).times(process, torch.rand(2, 100), 40)
    assert (t[:40] > r[:40]).all() and torch.equal(t[40:], r[40:])


def test_low_discrepancy_times_are_spread_over_samples_with_two_times():
    torch.manual_seed(0)
    first, _ = MeanFlowLoss(LowDiscrepancyDensity())._numbers(torch.zeros(64, 1), None)
    assert first[:32].min() < 0.2 and first[:32].max() > 0.8
    assert first.sort().values.diff().max() < 1 / 64 + 1e-9


def test_the_sampler_refuses_other_models():
    process = PROCESSES["cosine"]
    plain = Denoiser(nn.Identity(), process, VPrediction()).conditioned({})
    noise = noise_stream(0, torch.arange(2), (3,))
    with pytest.raises(UserError, match="requires a model trained by the task mean_flow"):
        MeanFlowSampler(1).sample(plain, noise)
    with pytest.raises(UserError, match="has no guidance but that of its model"):
        MeanFlowSampler(1).sample(ClassifierFree(plain, plain, 2.0), noise)


def test_both_calls_of_a_batch_have_the_same_dropout_mask():
    class Noise(nn.Module):
        two_times = True

        def __init__(self):
            super().__init__()
            self.layer, self.one = nn.Dropout(0.5), nn.Parameter(torch.ones(()))

        def forward(self, x, log_snr, cond=None):
            return self.layer(self.one * torch.ones_like(x))

    denoiser = Denoiser(Noise(), PROCESSES["rectified"], built_in("prediction", "flow")())
    x, t = torch.zeros(4, 50), torch.full((4,), 0.5)
    first = velocity(estimated(denoiser, x, t, {}))
    assert not velocity_change(denoiser, x, t, t / 2, {}).any()  # independent of x and t
    assert torch.equal(first, velocity(denoiser(x, t)))
