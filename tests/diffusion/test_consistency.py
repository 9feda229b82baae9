"""Consistency tuning: the gaps of a pair, its fixed point on Gaussian data, one draw for both, and every process."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from genmods.config.builtins import BUILTINS
from genmods.diffusion import ConsistencyLoss, ConsistencySampler, Denoiser, VPrediction, noise_stream
from support.oracles import Gaussian, Network, Oracle, built_in, processes

PROCESSES = processes()


def test_the_gaps_are_those_of_the_paper():
    """n(s) = 1 + 8 S(-s), q = 2: 80 is paired with 40 at first, 1 with 1 - 3.1515/256 at last."""
    loss = ConsistencyLoss(stages=8)
    s = torch.tensor([80.0, 1.0, 0.01])
    torch.testing.assert_close(loss.less_noise(s, 0.0), torch.tensor([40.0, 0.0, 0.0]), rtol=1e-4, atol=1e-6)
    assert loss.less_noise(s, 1.0)[1] == pytest.approx(1 - 3.15153 / 256, abs=1e-6)
    halves = [(s - loss.less_noise(s, (k + 0.5) / 8))[0].item() for k in range(8)]
    assert halves == pytest.approx([80 / 2 ** (k + 1) for k in range(8)], rel=1e-6)


def test_a_later_first_stage_begins_with_its_gap():
    """Stages 3 and 4 of half the training each: 80 is paired with 70, then with 75."""
    loss, s = ConsistencyLoss(stages=4, first_stage=3), torch.tensor([80.0])
    assert [loss.less_noise(s, progress).item() for progress in (0.0, 0.49, 0.5, 1.0)] == pytest.approx(
        [70, 70, 75, 75]
    )
    with pytest.raises(ValueError, match="first_stage must be at most stages = 4"):
        ConsistencyLoss(stages=4, first_stage=5)


class Gain(nn.Module):
    """A network that multiplies its input by a number per noise level, linear between knots over the log-SNR."""

    def __init__(self):
        super().__init__()
        self.gains = nn.Parameter(torch.zeros(28))

    def forward(self, x, log_snr, cond=None):
        place = (log_snr + 13.5).clamp(0, 26.99)
        low = place.long()
        gain = torch.lerp(self.gains[low], self.gains[low + 1], place - low)
        return gain[:, None] * x


C = 0.5
"""The standard deviation of the data, x0 ~ N(0, C²): the flow ends at f(x_t) = C x_t/√(α² C² + σ²)."""


@dataclass
class FlowEnd(Oracle):
    def mean(self, x, alpha, sigma):
        return C * x / torch.sqrt(alpha**2 * C**2 + sigma**2)


class Changed(nn.Module):
    """The network of an oracle, plus multiples of its input, one in each of six bands of the log-SNR."""

    def __init__(self, oracle, process, prediction):
        super().__init__()
        self.exact, self.change = Network(oracle, process, prediction), nn.Parameter(torch.zeros(6).double())

    def forward(self, x, log_snr, cond=None):
        return self.exact(x, log_snr) + self.change[((log_snr + 7) / 2.4).long().clamp(0, 5)][:, None] * x


def pull(oracle, process, prediction):
    """The gradient [6] of the mean loss in those multiples, in the last stage."""
    denoiser = Denoiser(Changed(oracle, process, prediction), process, prediction)
    generator = torch.Generator().manual_seed(0)
    x0, eps = C * torch.randn(2, 3000, 8, generator=generator).double() / torch.tensor([1, C])[:, None, None]
    u = (torch.arange(3000, dtype=torch.float64) + 0.5) / 3000
    ConsistencyLoss(stages=8)(denoiser, x0, u=u, eps=eps).per_sample.mean().backward()
    return denoiser.network.change.grad


@pytest.mark.parametrize("process", PROCESSES)
def test_the_end_of_the_flow_is_its_fixed_point(process):
    """There is no pull at f, at any noise level; at E[x0 | x_t] it is drawn away."""
    process, prediction = PROCESSES[process].requires_grad_(False), VPrediction()
    at_end, at_mean = (pull(oracle(process), process, prediction) for oracle in (FlowEnd, lambda p: Gaussian(p, C)))
    assert (at_end.abs() < 0.1 * at_mean.abs().max()).all()


def test_it_ends_at_the_end_of_the_flow():
    torch.manual_seed(0)
    denoiser = Denoiser(Gain(), PROCESSES["edm"], VPrediction(), sigma_data=C)
    loss, steps = ConsistencyLoss(stages=6), 600
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=0.03, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        optimizer.zero_grad()
        loss(denoiser, C * torch.randn(128, 16), progress=step / steps).per_sample.mean().backward()
        optimizer.step()
        schedule.step()
    s = torch.tensor([0.1, 0.3, 0.6, 1.0], dtype=torch.float64)
    with torch.no_grad():
        found = denoiser(torch.ones(4, 1), s).x0[:, 0].double()
    torch.testing.assert_close(found, C / (C**2 + s**2).sqrt(), rtol=0.1, atol=0)


def test_both_of_a_pair_have_the_same_dropout_mask():
    class Noise(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.one = nn.Dropout(0.5), nn.Parameter(torch.ones(()))

        def forward(self, x, log_snr, cond=None):
            return self.layer(self.one * torch.ones_like(x))

    denoiser = Denoiser(Noise(), PROCESSES["edm"], built_in("prediction", "x0")())
    u = torch.full((4,), 0.9)
    assert (ConsistencyLoss()(denoiser, torch.zeros(4, 50), u=u).error < 1e-12).all()
    torch.manual_seed(0)
    first = denoiser.network(torch.zeros(4, 50), u)
    assert not torch.equal(first, denoiser.network(torch.zeros(4, 50), u))


@pytest.mark.parametrize("prediction", BUILTINS["prediction"])
@pytest.mark.parametrize("process", PROCESSES)
def test_every_process_and_prediction(process, prediction):
    """Finite losses and gradients at all progress, at the ends of the noise levels too."""
    prediction, process = built_in("prediction", prediction)(), PROCESSES[process]
    try:
        denoiser = Denoiser(Gain(), process, prediction)
    except ValueError:
        return
    u = torch.tensor([0.0, 1e-6, 0.3, 0.9, 1 - 1e-7])
    for progress in (0.0, 0.5, 1.0):
        losses = ConsistencyLoss()(denoiser, torch.randn(5, 3), progress=progress, u=u)
        losses.per_sample.sum().backward()
        assert losses.per_sample.isfinite().all() and denoiser.network.gains.grad.isfinite().all()


def test_the_step_adds_fresh_noise_of_the_next_level():
    """A denoiser of N(0, 0): x0 = 0, and what is left at the second time is its noise alone."""
    process, seen = PROCESSES["cosine"], []

    class Watch(Gaussian):
        def mean(self, x, alpha, sigma):
            seen.append((x / sigma).std().item())
            return super().mean(x, alpha, sigma)

    noise = noise_stream(0, torch.arange(4000), (1,), dtype=torch.float64)
    assert not ConsistencySampler(2).sample(Watch(process, 0.0), noise).any()
    assert seen == pytest.approx([1, 1], abs=0.05)
