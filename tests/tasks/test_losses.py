"""Losses of classifiers against torch's cross-entropy, torchvision's focal loss and scikit-learn's weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight
from torchvision.ops import sigmoid_focal_loss

from genmods import create
from genmods.tasks.losses import balanced_weights, classification_loss, several_loss

GENERATOR = torch.Generator().manual_seed(0)
LOGITS, LABELS = torch.randn(20, 2, generator=GENERATOR) * 3, torch.arange(20) % 3 // 2
MIXED = torch.rand(20, 2, generator=GENERATOR).softmax(1)
WEIGHTS = torch.tensor([0.4, 3.0])


@pytest.mark.parametrize("labels", [LABELS, MIXED], ids=["hard", "mixed"])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_vanishing_exponent_is_cross_entropy(labels, weights, smoothing):
    expected = F.cross_entropy(LOGITS, labels, weights, label_smoothing=smoothing)
    for gamma, tolerance in ((0.0, 1e-6), (1e-6, 1e-4)):
        loss = classification_loss(LOGITS, labels, weights, smoothing, gamma)
        torch.testing.assert_close(loss, expected, rtol=tolerance, atol=0)


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
def test_two_classes_are_one_binary_focal_loss(gamma):
    terms = sigmoid_focal_loss(LOGITS[:, 1] - LOGITS[:, 0], LABELS.float(), alpha=-1, gamma=gamma)
    torch.testing.assert_close(classification_loss(LOGITS, LABELS, gamma=gamma), terms.mean())
    weighted = (WEIGHTS[LABELS] * terms).sum() / WEIGHTS[LABELS].sum()
    torch.testing.assert_close(classification_loss(LOGITS, LABELS, WEIGHTS, gamma=gamma), weighted)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_several_labels_are_torchvisions_focal_loss(gamma):
    labels = (MIXED > 0.5).float()
    expected = sigmoid_focal_loss(LOGITS, labels, alpha=-1, gamma=gamma, reduction="mean")
    torch.testing.assert_close(several_loss(LOGITS, labels, gamma), expected)


def test_balanced_weights_are_scikit_learns():
    labels = [0] * 50 + [1] * 7 + [2] * 3
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert balanced_weights([50, 7, 3]) == pytest.approx(expected.tolist())
    assert balanced_weights([3, 0]) == [0.5, 1.0]


def test_the_task_takes_balanced_weights_from_the_counts_of_the_data():
    network = create("network", "cnn", layers=["conv 4"], num_classes=2, in_channels=1, image_size=8)
    settings = {"network": network, "num_classes": 2, "in_channels": 1, "image_size": 8, "class_weights": "balanced"}
    task = create("task", "classification", **settings, class_counts=[30, 10])
    assert task.class_weights.tolist() == pytest.approx([2 / 3, 2])
    with pytest.raises(ValueError, match="class_weights: balanced requires class_counts"):
        create("task", "classification", **settings)
    with pytest.raises(ValueError, match="focal_gamma must be at least 0, got -1"):
        create("task", "classification", **settings | {"class_weights": None, "focal_gamma": -1.0})


def test_each_label_pulls_as_much_with_balanced_weights():
    labels = torch.tensor([[1, 0]] * 9 + [[0, 1]] * 3).float()
    logits = torch.zeros(12, 2, requires_grad=True)
    several_loss(logits, labels, weights=torch.tensor(balanced_weights([9, 3]))).backward()
    pulls = (logits.grad * labels).sum(0)
    assert pulls[0] < 0
    torch.testing.assert_close(pulls[0], pulls[1])


def test_the_task_of_several_labels_takes_balanced_weights():
    network = create("network", "cnn", layers=["conv 4"], num_classes=2, in_channels=1, image_size=8)
    settings = {"network": network, "num_classes": 2, "in_channels": 1, "image_size": 8, "class_weights": "balanced"}
    task = create("task", "multilabel", **settings, class_counts=[30, 10])
    assert task.class_weights.tolist() == pytest.approx([2 / 3, 2])
    with pytest.raises(ValueError, match="class_weights must have one item per label, 2"):
        create("task", "multilabel", **settings | {"class_weights": [1.0]})
