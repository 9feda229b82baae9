"""What a command says at its end."""

import torch

from genmods.cli import summary
from genmods.networks.cnn import CNN
from genmods.tasks.classification import ClassificationTask


def test_table_by_class(capsys):
    counts = torch.tensor([[3, 1, 0], [0, 2, 0], [0, 0, 0]])
    task = ClassificationTask(CNN(["linear 4"], num_classes=3), num_classes=3, class_names=["coat", "shoe", "bag"])
    task.confusion_counts = counts
    summary.figures(task, {"test/acc": 5 / 6})
    figure, _, header, *rows = capsys.readouterr().out.splitlines()
    assert figure.split() == ["test/acc", "0.833333"]
    assert header.split() == ["class", "images", "correct", "accuracy"]
    assert [row.split() for row in rows] == [
        ["coat", "4", "3", "0.7500"],
        ["shoe", "2", "2", "1.0000"],
        ["bag", "0", "0", "-"],
    ]
