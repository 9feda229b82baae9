"""The summary at the end of a command."""

import torch

from genmods.cli import summary
from genmods.metrics.classification import Classification


def test_table_by_class(capsys):
    counts = torch.tensor([[3, 1, 0], [0, 2, 0], [0, 0, 0]])
    nothing = torch.empty(0)
    result = Classification(["coat", "shoe", "bag"], counts, nothing, nothing, nothing, 1.0)
    summary.figures({"test/acc": 5 / 6}, result)
    figure, _, header, *rows = capsys.readouterr().out.splitlines()
    assert figure.split() == ["test/acc", "0.833333"]
    assert header.split() == ["class", "images", "correct", "recall", "precision", "F1"]
    assert [row.split() for row in rows] == [
        ["coat", "4", "3", "0.7500", "1.0000", "0.8571"],
        ["shoe", "2", "2", "1.0000", "0.6667", "0.8000"],
        ["bag", "0", "0", "-", "-", "-"],
    ]
