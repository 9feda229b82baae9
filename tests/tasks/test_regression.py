"""Regression: figures against a calculation by hand, and a network that learns where a shape is."""

from functools import partial

import pytest
import torch
from torch import nn

from genmods.core.errors import UserError
from genmods.data.module import ImageData
from genmods.data.sources.synthetic import Synthetic
from genmods.models import Regressor
from genmods.networks.base import Network
from genmods.networks.cnn import CNN
from genmods.tasks.base import FitPlan
from genmods.tasks.regression import RegressionTask
from support.fitting import trainer


class Constant(Network):
    """The same numbers for each image."""

    def __init__(self, values):
        super().__init__()
        self.values = nn.Parameter(torch.tensor(values))

    def forward(self, x):
        return self.values.repeat(len(x), 1)


def data(**settings):
    source = Synthetic(train_images=256, test_images=64, side=16, targets="place", noise=0.02)
    return ImageData(source, batch_size=32, **settings)


def learner(network, **settings):
    return RegressionTask(Regressor(network, **settings), plan=FitPlan(optimizer=partial(torch.optim.AdamW, lr=5e-3)))


def test_targets_are_where_the_shape_is():
    images = data().splits["test"]
    light = images.pixels.float().amax(1)
    light = light * (light > 40)
    grid = (torch.arange(16) + 0.5) / 16
    total = light.sum((1, 2))
    height, width = ((light.sum(axis) * grid).sum(1) / total for axis in (2, 1))
    assert images.labels.shape == (64, 3) and data().info.num_classes == 3
    assert (images.labels[:, 0] - height).abs().max() < 0.07 and (images.labels[:, 1] - width).abs().max() < 0.07


@pytest.mark.parametrize("values", [[0.5, 0.5, 0.2], [0.4, 0.6, 0.3]])
def test_figures_agree_with_a_calculation_by_hand(values):
    images = data()
    (figures,) = trainer().test(learner(Constant(values), in_channels=3, image_size=16), images, verbose=False)
    target, said = images.splits["test"].labels, torch.tensor(values)
    error = target - said
    spread = (target - target.mean(0)).square().sum(0)
    expected = {
        "test/mae": error.abs().mean(),
        "test/loss": error.square().mean(),
        "test/r2": (1 - error.square().sum(0) / spread).mean(),
    }
    assert figures == pytest.approx({name: float(value) for name, value in expected.items()}, rel=1e-4)


def test_the_huber_loss_is_quadratic_below_delta_and_linear_above_it():
    task = RegressionTask(Regressor(Constant([0.0])), "huber", 0.5)
    task.log = lambda *_, **__: None
    batch = {"image": torch.zeros(2, 1, 4, 4), "label": torch.tensor([0.2, 3.0])}
    expected = (0.2**2 / 2 + 0.5 * (3.0 - 0.25)) / 2
    assert task.training_step(batch, 0).item() == pytest.approx(expected)


def test_a_network_learns_the_place_of_a_shape():
    torch.manual_seed(0)
    network = CNN(["conv 8", "pool 2", "conv 16", "linear 32"], in_channels=3, image_size=16, num_classes=3)
    task, images = learner(network, in_channels=3, image_size=16), data()
    (before,) = trainer().test(task, images, verbose=False)
    trainer(max_epochs=20).fit(task, images)
    (after,) = trainer().test(task, images, verbose=False)
    assert after["test/mae"] < before["test/mae"] / 3 and after["test/r2"] > 0.6 > before["test/r2"]
    (batch, *_) = trainer().predict(task, images)
    torch.testing.assert_close(batch["predictions"], task.model.eval()(to_float(images, batch["index"])))


def to_float(images, index):
    return images.splits["test"].pixels[index].float() / 127.5 - 1


def test_another_number_of_targets_is_one_clear_line():
    with pytest.raises(UserError, match=r"task.network.num_classes must be 3"):
        trainer().test(learner(Constant([0.0]), in_channels=3, image_size=16), data(), verbose=False)
