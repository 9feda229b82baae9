"""What a command says at its end."""

from types import SimpleNamespace

import torch

from genmods.commands import outcome


def test_table_by_class(capsys):
    counts = torch.tensor([[3, 1, 0], [0, 2, 0], [0, 0, 0]])
    task = SimpleNamespace(confusion_counts=counts, class_names=["coat", "shoe", "bag"])
    outcome.figures(task, {"test/acc": 5 / 6})
    figure, _, header, *rows = capsys.readouterr().out.splitlines()
    assert figure.split() == ["test/acc", "0.833333"]
    assert header.split() == ["class", "images", "correct", "accuracy"]
    assert [row.split() for row in rows] == [
        ["coat", "4", "3", "0.7500"],
        ["shoe", "2", "2", "1.0000"],
        ["bag", "0", "0", "-"],
    ]
