import math

import pytest
import torch

from genmods.config.builtins import BUILTINS
from genmods.optim.schedules import ConstantSchedule, CosineSchedule, LinearSchedule


def rates(kind, total=100, base=(1.0, 0.5), **settings):
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in base]
    optimizer = torch.optim.SGD(groups)
    schedule = kind(optimizer, total, **settings)
    seen = []
    for _ in range(total + 5):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return torch.tensor(seen, dtype=torch.float64)


DECAYS = {
    CosineSchedule: lambda p: 0.1 + 0.9 * (1 + math.cos(math.pi * p)) / 2,
    LinearSchedule: lambda p: 1 - 0.9 * p,
}


@pytest.mark.parametrize("kind", DECAYS)
@pytest.mark.parametrize("warmup", [0.2, 20])
def test_closed_form(kind, warmup):
    seen = rates(kind, warmup=warmup, end=0.1)
    expected = [(s + 1) / 20 if s < 20 else DECAYS[kind](min(1.0, (s - 20) / 80)) for s in range(105)]
    torch.testing.assert_close(seen[:, 0], torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("kind", [CosineSchedule, LinearSchedule, ConstantSchedule])
def test_every_group_keeps_its_own_rate(kind):
    seen = rates(kind, warmup=0.1)
    torch.testing.assert_close(seen[:, 1], 0.5 * seen[:, 0])
    assert seen[:, 0].max() == 1


def test_a_warmup_is_at_most_the_run():
    assert rates(CosineSchedule, total=10, warmup=10)[:10, 0].tolist() == [(step + 1) / 10 for step in range(10)]
    with pytest.raises(ValueError, match="warmup must be at most total_steps = 10, got 11"):
        rates(CosineSchedule, total=10, warmup=11)


def test_constant_after_warmup():
    assert (rates(ConstantSchedule, warmup=4)[4:, 0] == 1).all()


@pytest.mark.parametrize("kind", [CosineSchedule, LinearSchedule])
def test_ends_at_end_and_stays(kind):
    torch.testing.assert_close(rates(kind, end=0.25)[100:, 0], torch.full((5,), 0.25, dtype=torch.float64))


@pytest.mark.parametrize("kind", [CosineSchedule, LinearSchedule, ConstantSchedule])
@pytest.mark.parametrize("total", [1, 2, 3])
def test_very_short_runs_have_finite_rates(kind, total):
    seen = rates(kind, total=total, warmup=0.5)
    assert (seen >= 0).all() and (seen <= 1).all()


def test_resumes_where_it_stopped():
    def make():
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        return optimizer, CosineSchedule(optimizer, 10, warmup=2)

    optimizer, schedule = make()
    for _ in range(6):
        optimizer.step()
        schedule.step()
    again, resumed = make()
    again.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(schedule.state_dict())
    for o, s in ((optimizer, schedule), (again, resumed)):
        o.step()
        s.step()
    assert optimizer.param_groups[0]["lr"] == again.param_groups[0]["lr"] < 1


def test_a_longer_continuation_follows_its_own_curve():
    def make(total):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        return optimizer, CosineSchedule(optimizer, total, warmup=0)

    optimizer, schedule = make(10)
    for _ in range(10):
        optimizer.step()
        schedule.step()
    assert optimizer.param_groups[0]["lr"] == 0
    longer, continued = make(40)
    longer.load_state_dict(optimizer.state_dict())
    continued.load_state_dict(schedule.state_dict())
    assert longer.param_groups[0]["lr"] == pytest.approx((1 + math.cos(math.pi / 4)) / 2)


@pytest.mark.parametrize("settings", [{"warmup": -1}, {"end": 2.0}, {"total": 0}, {"total": math.inf}])
def test_refuses_in_one_line(settings):
    total = settings.pop("total", 100)
    with pytest.raises(ValueError) as error:
        CosineSchedule(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))]), total, **settings)
    assert "\n" not in str(error.value)


def test_registered():
    assert {"cosine", "linear", "constant"} <= set(BUILTINS["schedule"])
