import pytest
import torch

from genmods.metrics.calibration import reliability
from genmods.visual.classes import confusion_matrix, reliability_diagram, worst_mistakes
from genmods.visual.style import as_image


def test_confusion_cells_are_percent_of_the_true_class():
    figure = confusion_matrix(torch.tensor([[3, 1], [0, 4]]), ["cat", "dog"])
    axes = figure.axes[0]
    assert {text.get_position(): text.get_text() for text in axes.texts} == {
        (0, 0): "75.0",
        (1, 0): "25.0",
        (1, 1): "100",
    }
    assert "87.50 % of 8 images" in axes.get_title()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["cat", "dog"]


def test_confusion_of_many_or_missing_classes():
    assert not confusion_matrix(torch.eye(100).long()).axes[0].texts
    assert "0.00 % of 0 images" in confusion_matrix(torch.zeros(3, 3, dtype=torch.long)).axes[0].get_title()


def test_worst_mistakes_are_sorted_by_certainty():
    probabilities = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.1, 0.9]])
    labels = torch.tensor([0, 0, 0, 1])
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 2, 2) / 4
    figure = worst_mistakes(images, labels, probabilities, ["a", "b"])
    shown = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in shown] == ["b · 80 %", "b · 60 %"]
    assert [axes.get_xlabel() for axes in shown] == ["is a", "is a"]
    assert [float(axes.images[0].get_array()[0, 0]) for axes in shown] == [0.75, 0.625]
    assert "2 of 4 wrong" in figure.get_suptitle()


def test_no_mistake_is_a_figure_too():
    assert "0 of 1 wrong" in worst_mistakes(torch.zeros(1, 1, 4, 4), torch.tensor([0]), torch.eye(2)[:1]).get_suptitle()


def test_reliability_diagram_has_bars_as_high_as_the_accuracy():
    probabilities = torch.tensor([[0.75, 0.25]] * 4)
    table = reliability(probabilities, torch.tensor([0, 0, 1, 1]), bins=10)
    figure = reliability_diagram({"before": table, "after": table})
    assert len(figure.axes) == 4
    accuracy, gap = figure.axes[0].patches
    assert accuracy.get_height() == 0.5 and gap.get_height() == 0.25
    assert figure.axes[0].get_title() == "before: ECE 25.00 %"


@pytest.mark.parametrize("name", ["$\\frac$", "a$b$c", "\x1b[2J\n", "\udcff", "n" * 500])
def test_any_name_of_a_class_or_file_is_drawn(name):
    assert as_image(confusion_matrix(torch.eye(2), [name, name])).shape[0] == 3
    wrong = worst_mistakes([torch.zeros(1, 2, 2)], torch.tensor([1]), torch.tensor([[0.9, 0.1]]), [name] * 2, [name])
    assert as_image(wrong).shape[0] == 3
