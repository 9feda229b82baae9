"""Where samplers end at 1, 2, 3, 5, 8, 20 and 100 steps: every pair of process, sampler, grid and prediction.

`support.laws` has the data, the laws and the table of deviations that are allowed; `tests/torture/laws.py` crosses all
parts at once. A part that is registered is here.
"""

import math

import pytest
import torch
from scipy.special import ndtr

from genmods.config.builtins import BUILTINS
from genmods.diffusion import Denoiser
from support import laws
from support.oracles import Network, built_in

PROCESSES, SAMPLERS, GRIDS = laws.all_processes(), laws.samplers(), list(BUILTINS["grid"])
each_sampler = pytest.mark.parametrize("sampler", SAMPLERS)
each_process = pytest.mark.parametrize("process", PROCESSES)


@each_sampler
@each_process
def test_normal_data(process, sampler):
    assert not laws.faults(sampler, process, PROCESSES[process])


@each_sampler
@pytest.mark.parametrize("grid", GRIDS)
def test_normal_data_on_every_grid(grid, sampler):
    process = "rectified" if sampler == "flow_ode" else "cosine"
    assert not laws.faults(sampler, process, PROCESSES[process], grid)


@pytest.mark.parametrize("grid", GRIDS)
@each_process
def test_normal_data_on_every_grid_of_every_process(process, grid):
    assert not laws.faults("unipc", process, PROCESSES[process], grid)


MEANS = {2: 0.7, 5: 0.4, 20: 0.12}
"""The mean's deviation that is allowed: at few steps the first one decides for most starts, to the likelier point."""


@pytest.mark.parametrize("sampler", sorted(set(SAMPLERS) - laws.CONSISTENT))
@each_process
def test_two_points(process, sampler):
    """The law as allowed; and at 20 steps, without fresh noise, that of scipy's solution of the probability flow."""
    true = laws.TRUE[laws.TwoPoints]
    for steps, most in MEANS.items():
        made = laws.made(sampler, steps)
        if made is None or laws.refuses(made, PROCESSES[process]):
            continue
        mean, std = laws.two_point_law(PROCESSES[process], made)
        assert abs(mean - true.mean) < most
        assert laws.low_to_high(std / true.std, laws.allowed(sampler, process, "", steps)) or steps == 2
        if steps == 20 and sampler not in ("ddpm", "dpmpp_2m_sde"):
            assert abs((mean + 1) / 2 - share_of_the_flow(PROCESSES[process])) < 0.03


def share_of_the_flow(process):
    """The probability with which the probability flow takes a start to the point 1."""
    alpha, sigma, *_ = laws.ends(process)
    first = min(sigma / max(alpha, 1e-9), 1000.0)
    return 1 - ndtr(laws.split(first) * first / math.hypot(1, first))


@pytest.mark.parametrize("prediction", BUILTINS["prediction"])
@each_process
def test_every_prediction_is_the_same_denoiser(process, prediction):
    """The decode is exact, so that predictions are crossed with processes alone."""
    process, prediction = PROCESSES[process], built_in("prediction", prediction)()
    try:
        prediction.check(process)
    except ValueError:
        return
    oracle = laws.Normal(process)
    denoiser = Denoiser(Network(oracle, process, prediction), process, prediction)
    t = process.time(torch.linspace(*process.log_snr_range, 50, dtype=torch.float64))
    x = torch.linspace(-2, 2, 50, dtype=torch.float64)[:, None] * process.prior_std
    for found, want in zip(denoiser(x, t)[:2], oracle(x, t)[:2], strict=True):
        torch.testing.assert_close(found, want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("sampler", "process", "grid", "ranges", "reason"), laws.EXCEPTIONS, ids=lambda v: str(v)[:12])
def test_exceptions_name_what_there_is(sampler, process, grid, ranges, reason):
    assert sampler in ("*", *SAMPLERS) and process in ("*", *PROCESSES) and grid in ("*", *GRIDS)
    assert set(ranges) <= set(laws.USUAL) and reason
