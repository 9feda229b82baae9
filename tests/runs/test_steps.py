"""A step of the optimizer is the unit: what accumulates in it, which validations are held, which rows are written."""

import pytest
import torch
from lightning.pytorch import Callback

from genmods.runs.fit import build_data, build_task, fit
from genmods.runs.reuse import resolve
from genmods.runs.trainer import make_trainer
from genmods.tracking.series import read_series
from support.small_runs import CNN, classifier

pytestmark = pytest.mark.usefixtures("workplace")
PLAIN = CNN | {"norm": "group"}
SHAPES = {"name": "synthetic", "side": 8, "channels": 1, "classes": 3, "val_fraction": 0.2, "test_images": 10}


class Gradients(Callback):
    """Keeps the gradient of each step."""

    def __init__(self):
        self.found = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.found.append(torch.cat([p.grad.flatten().clone() for p in pl_module.parameters()]))


def gradients(tmp_path, batch_size, group, images=80, steps=2, **trainer):
    given = classifier(
        PLAIN,
        SHAPES | {"batch_size": batch_size, "train_images": images},
        optimizer={"name": "sgd", "lr": 0.1},
        trainer={"max_steps": steps, "accumulate_grad_batches": group, "accelerator": "cpu", **trainer},
    )
    data, seen = build_data(resolve(given)), Gradients()
    settings = given.trainer.given | {"precision": "64-true", "enable_progress_bar": False}
    floats = data.on_after_batch_transfer
    data.on_after_batch_transfer = lambda batch, i: floats(batch, i) | {"image": floats(batch, i)["image"].double()}
    task = build_task(given, data.info).double()
    make_trainer(tmp_path, task, settings, [seen], []).fit(task, data)
    return seen.found


def relative(one, other):
    return float((one - other).norm() / other.norm())


def test_accumulated_gradients_are_those_of_one_batch_of_the_same_images(tmp_path):
    whole = gradients(tmp_path, 64, 1)
    for batch_size, group in ((32, 2), (16, 4), (8, 8)):
        parts = gradients(tmp_path, batch_size, group)
        assert [relative(*pair) <= 1e-6 for pair in zip(parts, whole, strict=True)] == [True, True]


def test_a_group_is_never_cut_by_the_end_of_an_epoch(tmp_path):
    """64 images in two batches an epoch: each step has all images equally often, and so the same gradient."""
    (whole,) = gradients(tmp_path, 64, 1, steps=1)
    for group in (2, 4, 8):
        (found,) = gradients(tmp_path, 32, group, steps=1)
        assert relative(found, whole) <= 1e-6


@pytest.mark.parametrize(
    "limits", [{"limit_train_batches": 3}, {"limit_train_batches": 0.5}, {"overfit_batches": 1}, {"max_epochs": 1}]
)
def test_nor_by_a_limit(tmp_path, limits):
    """Four batches of all images, of which the limit leaves fewer in an epoch."""
    found = gradients(tmp_path, 64, 4, steps=1, **limits)
    (whole,) = gradients(tmp_path, 64, 1, steps=1)
    assert relative(found[0], whole) <= 1e-6


class Validations(Callback):
    """Keeps the step of each validation."""

    def __init__(self):
        self.steps = []

    def on_validation_end(self, trainer, pl_module):
        self.steps.append(trainer.global_step)


def validations(tmp_path, group, **trainer):
    """80 images in 8 batches an epoch."""
    given = classifier(
        CNN,
        SHAPES | {"batch_size": 10, "train_images": 100},
        trainer={"accumulate_grad_batches": group, "accelerator": "cpu", **trainer},
    )
    data, seen = build_data(resolve(given)), Validations()
    settings = given.trainer.given | {"enable_progress_bar": False}
    task = build_task(given, data.info)
    trained = make_trainer(tmp_path, task, settings, [seen], [])
    trained.fit(task, data)
    return seen.steps, trained.global_step


@pytest.mark.parametrize(
    ("group", "settings", "steps"),
    [
        (1, {"max_steps": 12, "val_check_interval": 4}, [4, 8, 12]),
        (4, {"max_steps": 12, "val_check_interval": 4}, [4, 8, 12]),
        (4, {"max_steps": 11, "val_check_interval": 4}, [4, 8, 11]),
        (1, {"max_steps": 4, "val_check_interval": 1000}, [4]),
        (4, {"max_steps": 5}, [2, 4, 5]),
        (4, {"max_steps": 5, "val_check_interval": 0.5}, [1, 2, 3, 4, 5]),
        (2, {"max_steps": 10, "check_val_every_n_epoch": 2}, [8, 10]),
        (3, {"max_epochs": 2}, [3, 6]),
        (3, {"max_epochs": 3, "check_val_every_n_epoch": 2}, [6, 9]),
        (1, {"max_steps": 10, "val_check_interval": 3, "check_val_every_n_epoch": 2}, [10]),
        (2, {"max_steps": 3, "limit_val_batches": 0}, []),
    ],
)
def test_validations_are_held_at_steps_of_the_optimizer(tmp_path, group, settings, steps):
    held, last = validations(tmp_path, group, **settings)
    assert held == steps and last == (steps or [3])[-1]


def test_the_last_step_is_validated_and_written_whatever_the_intervals(workplace):
    trainer = {"max_steps": 7, "log_every_n_steps": 5, "val_check_interval": 4}
    series = read_series(fit(classifier(CNN, name="intervals", trainer=trainer), quiet=True) / "metrics.csv")
    assert [step for step, _ in series["train/loss"]] == [4, 6]
    assert [step for step, _ in series["train/grad_norm"]] == [4, 6]
    assert [step for step, _ in series["val/acc"]] == [3, 6]


def test_the_loss_of_a_step_is_the_mean_over_its_batches(workplace):
    losses = []
    for batch_size, group in ((64, 1), (16, 4)):
        trainer = {"max_steps": 2, "log_every_n_steps": 1, "accumulate_grad_batches": group, "precision": "32-true"}
        data = SHAPES | {"batch_size": batch_size, "train_images": 80}
        run = fit(classifier(PLAIN, data, name="mean", trainer=trainer), quiet=True)
        losses.append([value for _, value in read_series(run / "metrics.csv")["train/loss"]])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_batch_normalisation_with_accumulation_is_one_line(workplace, capsys):
    line = "trainer.accumulate_grad_batches 2: batch normalisation uses batches of 100 images, not of 200"
    for network, told in ((CNN, [line]), (PLAIN, [])):
        trainer = {"max_steps": 1, "accumulate_grad_batches": 2}
        fit(classifier(network, name="norms", trainer=trainer), quiet=True)
        assert [line for line in capsys.readouterr().err.splitlines() if "batch normalisation" in line] == told
