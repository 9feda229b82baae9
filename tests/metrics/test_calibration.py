import pytest
import torch
import torch.nn.functional as F
from torchmetrics.functional.classification import multiclass_calibration_error

from genmods.core.errors import UserError
from genmods.metrics.calibration import expected_calibration_error, reliability
from genmods.models.temperature import fit_temperature


def predictions(n=4000, k=5, sharpness=2.0):
    """Logits and labels drawn from softmax(logits / sharpness), which is then the calibrated prediction."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(n, k, generator=generator, dtype=torch.float64) * 3
    labels = torch.multinomial((logits / sharpness).softmax(1), 1, generator=generator)[:, 0]
    return logits, labels


@pytest.mark.parametrize("bins", [5, 15])
def test_ece_agrees_with_torchmetrics(bins):
    logits, labels = predictions()
    probabilities = logits.softmax(1)
    theirs = multiclass_calibration_error(probabilities, labels, num_classes=5, n_bins=bins, norm="l1")
    assert expected_calibration_error(probabilities, labels, bins) == pytest.approx(theirs.item(), abs=1e-6)


def test_table_agrees_with_a_loop():
    logits, labels = predictions(500)
    probabilities = logits.softmax(1)
    table = reliability(probabilities, labels, bins=10)
    for b in range(10):
        inside = [i for i in range(500) if b / 10 < probabilities[i].max() <= (b + 1) / 10]
        assert table.total[b] == len(inside)
        if inside:
            assert table.accuracy[b].item() == pytest.approx(
                sum(probabilities[i].argmax().item() == labels[i].item() for i in inside) / len(inside)
            )
            assert table.confidence[b].item() == pytest.approx(
                sum(probabilities[i].max().item() for i in inside) / len(inside)
            )
    assert table.total.sum() == 500


def test_certain_and_right_is_calibrated_certain_and_wrong_is_not():
    probabilities = F.one_hot(torch.tensor([0, 1, 2, 0]), 3).float()
    assert expected_calibration_error(probabilities, torch.tensor([0, 1, 2, 0])) == 0
    assert expected_calibration_error(probabilities, torch.tensor([1, 2, 0, 1])) == 1


def test_temperature_is_recovered_and_calibrates():
    logits, labels = predictions(20_000, sharpness=2.5)
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(2.5, rel=0.03)
    before = expected_calibration_error(logits.softmax(1), labels)
    after = expected_calibration_error((logits / temperature).softmax(1), labels)
    assert after < 0.015 < 0.1 < before


@pytest.mark.parametrize("scale", [0.1, 1.0, 8.0])
def test_temperature_is_the_minimum_of_a_grid_search(scale):
    logits, labels = predictions(1000)
    logits = scale * logits
    grid = torch.logspace(-1.3, 1.3, 4001, dtype=torch.float64)
    losses = torch.stack([F.cross_entropy(logits / t, labels) for t in grid])
    assert fit_temperature(logits, labels) == pytest.approx(grid[losses.argmin()].item(), rel=2e-3)


def test_temperature_works_under_no_grad_and_stays_finite():
    with torch.no_grad():
        separated = fit_temperature(torch.eye(3).repeat(4, 1), torch.arange(3).repeat(4))
    assert 0.05 <= separated <= 1


def test_faulty_input_is_one_line():
    with pytest.raises(UserError, match="finite"):
        fit_temperature(torch.tensor([[float("nan"), 0.0]]), torch.tensor([0]))
    with pytest.raises(UserError, match="at least one"):
        reliability(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))
