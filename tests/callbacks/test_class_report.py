"""The pictures that `validate` and `test` of a classifier leave in its run folder."""

import csv
import json

import pytest
from PIL import Image

from genmods.cli import dispatch
from genmods.tracking.series import read_metrics

RECIPE = """
task: {name: classification, network: {name: cnn, layers: ["conv 4", "linear 8"]}}
data: {name: digits, limit: 100, batch_size: 50}
trainer: {max_steps: 8, accelerator: cpu}
"""
PICTURES = ("confusion", "reliability", "worst")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        (root / "small.yaml").write_text(RECIPE)
        assert dispatch(["fit", "--config", "small.yaml", "--quiet"]) == 0
        yield next((root / "runs/small").iterdir())


def drawn(run, split):
    return {name: next((run / "samples").glob(f"{split}_{name}_*.png"), None) for name in PICTURES}


def test_a_fit_draws_none(run):
    assert not any(drawn(run, "val").values())


@pytest.mark.parametrize(("command", "split"), [("validate", "val"), ("test", "test")])
def test_both_evaluations_draw_and_say_where(run, capsys, command, split):
    assert dispatch([command, "--config", "small.yaml", "--ckpt_path", str(run), "--quiet"]) == 0
    printed = capsys.readouterr()
    for path in drawn(run, split).values():
        assert str(path) in printed.err and min(Image.open(path).size) > 200
    figures = json.loads((run / f"{command}.json").read_text())["figures"]
    assert {f"{split}/ece", f"{split}/ece_calibrated", f"{split}/acc"} <= set(figures)
    assert f"{split}/ece_calibrated" in printed.out and "precision" in printed.out


def test_every_mistake_is_in_a_table_the_most_certain_first(run):
    assert dispatch(["test", "--config", "small.yaml", "--ckpt_path", str(run), "--quiet"]) == 0
    figures = json.loads((run / "test.json").read_text())["figures"]
    with (run / "test_mistakes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == round((1 - figures["test/acc"]) * 100) > 0
    assert all(row["true"] != row["class"] and 0 <= int(row["image"]) < 100 for row in rows)
    certainties = [float(row["probability"]) for row in rows]
    assert certainties == sorted(certainties, reverse=True)


def test_figures_of_the_test_stand_in_the_row_of_the_checkpoint_and_in_the_report(run):
    before = read_metrics(run / "metrics.csv")
    assert dispatch(["test", "--config", "small.yaml", "--ckpt_path", str(run), "--quiet"]) == 0
    (row,) = [row for row in read_metrics(run / "metrics.csv") if "test/acc" in row]
    (old,) = [each for each in before if each["step"] == row["step"]]
    assert row["epoch"] == old["epoch"] and [each["step"] for each in before] == [
        each["step"] for each in read_metrics(run / "metrics.csv")
    ]
    assert "test_confusion" in (run / "report.html").read_text()
