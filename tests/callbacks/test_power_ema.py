"""Averages chosen after training: their weighting, what snapshots give of them, and the way there from a run."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from genmods.callbacks.power_ema import PowerEMA
from genmods.optim.power_average import Profile, combination, decay, exponent
from genmods.runs.averages import average


@cache
def weighting(length, steps):
    """How the recursion weighs each step, by its impulses: [steps]."""
    weights = np.zeros(steps)
    for step in range(1, steps + 1):
        weights *= decay(length, step)
        weights[step - 1] += 1 - decay(length, step)
    return weights


@pytest.mark.parametrize("length", [0.02, 0.05, 0.1, 0.25])
def test_the_length_is_the_standard_deviation_of_the_weighting(length):
    steps, weights = np.arange(1, 2001), weighting(length, 2000)
    mean = weights @ steps
    assert np.sqrt(weights @ (steps - mean) ** 2) / 2000 == pytest.approx(length, rel=0.01)
    assert weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(np.diff(Profile(length, 2000).until(np.arange(2001))), weights, atol=1e-12)


def test_the_published_exponents():
    """γ = 16.97 for 0.05 and 6.94 for 0.10 (Karras et al. 2024, section 3.1)."""
    assert exponent(0.05) == pytest.approx(16.97, abs=0.01) and exponent(0.1) == pytest.approx(6.94, abs=0.01)


STEPS, SIZE = 960, 400


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """A random walk of weights followed by the callback, and the walk itself [STEPS, SIZE]."""
    folder = tmp_path_factory.mktemp("run")
    path = torch.randn(STEPS, SIZE, generator=torch.Generator().manual_seed(0)).cumsum(0)
    module, callback = nn.Linear(SIZE, 1, bias=False), PowerEMA(snapshots=16)
    trainer = SimpleNamespace(global_step=0, estimated_stepping_batches=STEPS, default_root_dir=str(folder))
    callback.on_train_start(trainer, module)
    for trainer.global_step in range(1, STEPS + 1):
        module.weight.data = path[trainer.global_step - 1][None].clone()
        callback.on_train_batch_end(trainer, module)
    return folder, path.double().numpy()


@pytest.mark.parametrize(("length", "most"), [(0.05, 1e-5), (0.06, 1e-3), (0.07, 1e-3), (0.1, 1e-5), (0.2, 1e-2)])
def test_a_length_chosen_afterwards_is_that_of_a_direct_run(walk, length, most):
    """The difference from the direct average is that of the fitted weighting, computed from the steps of the walk."""
    folder, path = walk
    found = average(folder, length)
    direct, wanted = weighting(length, STEPS) @ path, weighting(length, STEPS)
    error = np.linalg.norm(found.weights["weight"].double().numpy()[0] - direct) / np.linalg.norm(direct)
    assert error < most and found.snapshots == 32
    profiles = [Profile(each, STEPS * k // 16) for k in range(1, 17) for each in (0.05, 0.1)]
    factors, left = combination(profiles, Profile(length, STEPS))
    fitted = sum(
        f * np.pad(weighting(p.length, p.step), (0, STEPS - p.step)) for f, p in zip(factors, profiles, strict=True)
    )
    assert left == pytest.approx(found.error) and sum(factors) == pytest.approx(1, abs=1e-6)
    tails = [np.cumsum(weights[::-1])[::-1] for weights in (fitted - wanted, wanted)]
    predicted = np.linalg.norm(tails[0]) / np.linalg.norm(tails[1])
    assert error == pytest.approx(predicted, rel=0.1, abs=2e-6)


def test_snapshots_of_an_abandoned_continuation_are_removed(tmp_path):
    """Those after the checkpoint from which a run resumes, or to which it is rolled back."""

    def train(callback, first, last):
        trainer.global_step = first
        callback.on_train_start(trainer, module)
        for trainer.global_step in range(first + 1, last + 1):
            callback.on_train_batch_end(trainer, module)

    def steps():
        return sorted(int(path.stem) for path in (tmp_path / "snapshots").iterdir())

    module, saved = nn.Linear(2, 1, bias=False), {}
    trainer = SimpleNamespace(global_step=0, estimated_stepping_batches=10, default_root_dir=str(tmp_path))
    abandoned, resumed = PowerEMA(snapshots=5), PowerEMA(snapshots=2)
    train(abandoned, 0, 5)
    abandoned.on_save_checkpoint(trainer, module, saved)
    saved["power_ema"]["weights"] = [dict(weights) for weights in saved["power_ema"]["weights"]]
    train(abandoned, 5, 10)
    assert steps() == [2, 4, 6, 8, 10]
    abandoned.roll_back(saved)
    assert steps() == [2, 4]
    train(abandoned, 5, 10)
    resumed.on_load_checkpoint(trainer, module, saved)
    trainer.estimated_stepping_batches = 8
    train(resumed, 5, 8)
    assert steps() == [2, 4, 8]


@pytest.mark.parametrize("settings", [{"lengths": (0.05,)}, {"lengths": (0.1, 0.5)}, {"snapshots": 0}])
def test_bad_settings(settings):
    with pytest.raises(ValueError, match="must"):
        PowerEMA(**settings)
