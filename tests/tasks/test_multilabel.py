"""Multi-label classification: mean average precision by hand, and a network that names the shapes in an image."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from genmods.core.errors import UserError
from genmods.data.module import ImageData
from genmods.data.sources.synthetic import Synthetic
from genmods.models import MultilabelClassifier
from genmods.networks.base import Network
from genmods.networks.cnn import CNN
from genmods.tasks.base import FitPlan
from genmods.tasks.multilabel import MultilabelTask
from support.fitting import trainer


class Corner(Network):
    """Logits that are the image's first pixels."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.scale * x[:, 0, 0, :2]


def data():
    source = Synthetic(train_images=384, test_images=96, side=16, targets="multilabel", noise=0.02)
    return ImageData(source, batch_size=32)


def average_precision(scores, labels):
    """The mean of the precision at the rank of each positive."""
    ranked = labels[scores.argsort(descending=True)]
    precision = ranked.cumsum(0) / torch.arange(1, len(ranked) + 1)
    return float(precision[ranked == 1].mean())


def test_labels_say_which_shapes_there_are():
    images = data().splits["train"]
    assert images.labels.shape[1] == 4 and set(images.labels.unique().tolist()) == {0.0, 1.0}
    assert (images.labels.mean(0) - 0.5).abs().max() < 0.1
    empty = images.pixels[images.labels.sum(1) == 0]
    assert len(empty) > 5 and empty.float().amax() < 40 < images.pixels.float().amax()


def test_loss_and_figures_agree_with_a_calculation_by_hand():
    torch.manual_seed(0)
    task, images = MultilabelTask(MultilabelClassifier(Corner(), num_classes=2)), torch.rand(40, 1, 4, 4) * 2 - 1
    images[:16] = images[:16].abs()  # a batch whose logits look like probabilities
    labels = (torch.rand(40, 2) < 0.4).float()
    logged = {}
    task.log = lambda name, value, **_: logged.update({name: value})
    loss = task.training_step({"image": images, "label": labels}, 0)
    p = images[:, 0, 0, :2].sigmoid()
    torch.testing.assert_close(loss, -(labels * p.log() + (1 - labels) * (1 - p).log()).mean())
    for part in torch.arange(40).split(16):
        task.test_step({"image": images[part], "label": labels[part], "index": part}, 0)
    result = task.evaluation_result("test")
    expected = [average_precision(p[:, k], labels[:, k]) for k in range(2)]
    assert result.average_precision.tolist() == pytest.approx(expected, abs=1e-5)
    assert float(logged["test/map"]) == pytest.approx(sum(expected) / 2, abs=1e-5)


def test_one_class_an_image_is_one_clear_line():
    with pytest.raises(UserError, match="labels must be \\[B, 2\\] zeros and ones for 2 logits, got \\[3\\]"):
        MultilabelTask(MultilabelClassifier(Corner(), num_classes=2)).training_step(
            {"image": torch.rand(3, 1, 4, 4), "label": torch.arange(3)}, 0
        )


def test_a_network_learns_to_name_the_shapes():
    torch.manual_seed(0)
    network = CNN(["conv 16", "pool 2", "conv 32", "pool 2", "linear 32"], in_channels=3, image_size=16, num_classes=4)
    model = MultilabelClassifier(network, num_classes=4, in_channels=3, image_size=16)
    task, images = MultilabelTask(model, plan=FitPlan(optimizer=partial(torch.optim.AdamW, lr=5e-3))), data()
    trainer(max_epochs=12).fit(task, images)
    (figures,) = trainer().test(task, images, verbose=False)
    assert figures["test/map"] > 0.8
    batches = trainer().predict(task, images)
    probabilities = torch.cat([batch["predictions"] for batch in batches])
    labels = images.splits["test"].labels
    assert figures["test/loss"] == pytest.approx(float(F.binary_cross_entropy(probabilities, labels)), rel=1e-3)
    expected = sum(average_precision(probabilities[:, k], labels[:, k]) for k in range(4)) / 4
    assert figures["test/map"] == pytest.approx(expected, abs=1e-4)
