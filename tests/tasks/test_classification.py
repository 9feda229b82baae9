"""Losses, predictions and figures of classification against their definitions."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from genmods import create
from genmods.data.augmentation.mix import MixUp
from genmods.data.module import ImageData
from genmods.data.sources.synthetic import Synthetic
from genmods.metrics.calibration import expected_calibration_error
from genmods.metrics.collected import Collected
from genmods.models.classifier import Classifier, views
from genmods.networks.base import Network
from genmods.networks.cnn import CNN
from genmods.runs.evaluate import LastResult
from genmods.tasks.base import FitPlan
from genmods.tasks.classification import ClassificationTask
from support.fitting import trainer


class Linear(Network):
    """Logits that are a linear map of the pixels."""

    def __init__(self, pixels=16, classes=3):
        super().__init__()
        self.head = nn.Linear(pixels, classes)

    def forward(self, x):
        return self.head(x.flatten(1))


task_of = partial(create, "task", "classification")


def linear_task(**settings):
    torch.manual_seed(0)
    task = task_of(network=Linear(), num_classes=3, image_size=4, mean=0.2, std=0.5, **settings)
    task.log = lambda *_, **__: None
    return task


IMAGES = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(1)) * 2 - 1
HARD, SOFT = torch.tensor([0, 1, 2, 2, 1, 0]), torch.tensor([[0.7, 0.3, 0.0]] * 6)


def log_probabilities(task):
    normalized = ((IMAGES - 0.2) / 0.5).flatten(1)
    return (normalized @ task.model.network.head.weight.T + task.model.network.head.bias).log_softmax(1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_soft_labels_is_their_mean_of_the_hard_ones(smoothing):
    task = linear_task(label_smoothing=smoothing)
    target = (1 - smoothing) * SOFT + smoothing / 3
    expected = -(target * log_probabilities(task)).sum(1).mean()
    torch.testing.assert_close(task.training_step({"image": IMAGES, "label": SOFT}, 0), expected)
    onehot = F.one_hot(HARD, 3).float()
    torch.testing.assert_close(
        task.training_step({"image": IMAGES, "label": onehot}, 0),
        task.training_step({"image": IMAGES, "label": HARD}, 0),
    )


def test_class_weights_weigh_each_image_by_its_class():
    task, weights = linear_task(class_weights=[1.0, 2.0, 5.0]), torch.tensor([1.0, 2.0, 5.0])
    each = -log_probabilities(task).gather(1, HARD[:, None])[:, 0]
    expected = (weights[HARD] * each).sum() / weights[HARD].sum()
    torch.testing.assert_close(task.training_step({"image": IMAGES, "label": HARD}, 0), expected)


def test_views_are_the_image_its_mirror_and_one_pixel_shifts():
    image = torch.arange(16.0).view(1, 1, 4, 4)
    assert [len(views(image, name)) for name in ("none", "flip", "flip_shift")] == [1, 2, 6]
    first, mirror, *shifted = (view[0, 0] for view in views(image, "flip_shift"))
    assert torch.equal(first, image[0, 0]) and torch.equal(mirror, first.flip(-1))
    assert torch.equal(shifted[0][1:, 1:], first[:-1, :-1]) and torch.equal(shifted[2][:-1, :-1], first[1:, 1:])
    assert torch.equal(shifted[1], shifted[0].flip(-1)) and torch.equal(shifted[3], shifted[2].flip(-1))


@pytest.mark.parametrize("augment", ["none", "flip", "flip_shift"])
def test_probabilities_are_the_mean_over_the_views(augment):
    model = linear_task(augment_test=augment).model
    expected = torch.stack([model(view).softmax(1) for view in views(IMAGES, augment)]).mean(0)
    torch.testing.assert_close(model.probabilities(IMAGES), expected)


def test_the_temperature_is_that_of_the_mean_and_changes_no_decision():
    model = linear_task(augment_test="flip").model
    before = model.probabilities(IMAGES)
    model.temperature.fill_(3.0)
    after = model.probabilities(IMAGES)
    torch.testing.assert_close(after, (before.log() / 3).softmax(1))
    assert torch.equal(after.argmax(1), before.argmax(1)) and (after.amax(1) < before.amax(1)).all()


def test_answers_come_in_the_order_of_the_images():
    answers, order = Collected(), torch.tensor([3, 0, 2, 1])
    for part in order.split(3):
        answers.update(part[:, None] / 10, part % 2, part)
    scores, labels, index = answers.compute()
    assert index.tolist() == [0, 1, 2, 3] and labels.tolist() == [0, 1, 0, 1]
    torch.testing.assert_close(scores[:, 0], torch.tensor([0.0, 0.1, 0.2, 0.3]))


def data(**settings):
    return ImageData(Synthetic(train_images=96, test_images=50, side=8), batch_size=32, **settings)


def classifier(**settings):
    torch.manual_seed(0)
    network = CNN(["conv 8", "pool 2", "linear 16"], in_channels=3, image_size=8, num_classes=4)
    model = Classifier(network, in_channels=3, image_size=8, num_classes=4, **settings)
    return ClassificationTask(model, plan=FitPlan(optimizer=partial(torch.optim.AdamW, lr=1e-2)))


def test_training_on_mixed_labels_learns_and_figures_are_those_of_the_answers():
    task, images = classifier(augment_test="flip"), data(augment=[MixUp()])
    trainer(max_epochs=12).fit(task, images)
    task.model.temperature.fill_(0.5)
    last = LastResult()
    (figures,) = trainer(callbacks=[last]).test(task, images, verbose=False)
    scores, labels, index = last.result.scores, last.result.labels, last.result.index
    assert torch.equal(labels, images.splits["test"].labels) and index.tolist() == list(range(50))
    assert figures["test/acc"] > 0.6
    expected = {
        "test/acc": float((scores.argmax(1) == labels).float().mean()),
        "test/loss": float(F.nll_loss(scores, labels)),
        "test/ece": expected_calibration_error(scores.exp(), labels),
        "test/ece_calibrated": expected_calibration_error((scores / 0.5).softmax(1), labels),
    }
    assert {name: figures[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    counts = torch.zeros(4, 4).index_put((labels, scores.argmax(1)), torch.ones(50), accumulate=True)
    assert torch.equal(last.result.counts, counts.long())
    assert figures["test/acc_class_mean"] == pytest.approx(float((counts.diag() / counts.sum(1)).mean()))


def test_a_fit_does_not_use_a_temperature():
    task = classifier()
    task.model.temperature.fill_(0.1)
    last = LastResult()
    run = trainer(max_epochs=1, callbacks=[last])
    run.fit(task, data())
    expected = F.nll_loss(last.result.scores, last.result.labels)
    assert float(run.callback_metrics["val/loss"]) == pytest.approx(float(expected))
    assert "val/ece" in run.callback_metrics and "val/ece_calibrated" not in run.callback_metrics


def test_a_uniform_answer_costs_ln_k():
    task = classifier()
    nn.init.zeros_(task.model.network.head.weight)
    nn.init.zeros_(task.model.network.head.bias)
    (figures,) = trainer().test(task, data(), verbose=False)
    assert figures["test/loss"] == pytest.approx(math.log(4), rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_classes": 1}, "num_classes must be at least 2, got 1"),
        ({"num_classes": 4}, "must return 4 logits per image"),
        ({"class_weights": [1.0]}, "class_weights must have one item per class, 3"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        task_of(**{"network": Linear(), "num_classes": 3, "image_size": 4, **settings})


def test_an_assertion_of_the_network_is_one_line():
    class Strict(Linear):
        def forward(self, x):
            assert x.shape[-1] == 224, "Wrong image height!"

    with pytest.raises(ValueError, match="Strict does not fit this task: Wrong image height!"):
        Classifier(Strict(), num_classes=3, image_size=4)


def test_an_evaluation_of_one_image_has_the_shapes_of_many():
    for labels in (torch.tensor([1]), torch.tensor([[0.5]])):
        collected = Collected()
        collected.update(torch.tensor([[-0.1, -2.4]]), labels, torch.tensor([7]))
        scores, taken, index = collected.take()
        assert scores.shape == (1, 2) and torch.equal(taken, labels) and index.tolist() == [7]
