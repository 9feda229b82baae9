"""The pictures that `validate` and `test` of a classifier leave in its run folder."""

import json

import pytest
from PIL import Image

from genmods.commands import dispatch

RECIPE = """
task: {name: classification, network: {name: cnn, layers: ["conv 4", "linear 8"]}}
data: {name: digits, limit: 100, batch_size: 50}
trainer: {max_steps: 8, accelerator: cpu}
"""
PICTURES = {"confusion.png", "reliability.png", "worst.png"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        (root / "small.yaml").write_text(RECIPE)
        assert dispatch(["fit", "--config", "small.yaml", "--quiet"]) == 0
        yield next((root / "runs/small").iterdir())


def test_a_fit_draws_none(run):
    assert not PICTURES & {path.name for path in run.iterdir()}


@pytest.mark.parametrize("command", ["validate", "test"])
def test_both_evaluations_draw_and_say_where(run, capsys, command):
    for name in PICTURES:
        (run / name).unlink(missing_ok=True)
    assert dispatch([command, "--config", "small.yaml", "--ckpt_path", str(run), "--quiet"]) == 0
    printed = capsys.readouterr()
    assert all(str(run / name) in printed.err for name in PICTURES)
    assert all(min(Image.open(run / name).size) > 200 for name in PICTURES)
    figures = json.loads((run / f"{command}.json").read_text())
    split = "val" if command == "validate" else "test"
    assert {f"{split}/ece", f"{split}/ece_calibrated", f"{split}/acc"} <= set(figures)
    assert f"{split}/ece_calibrated" in printed.out and "accuracy" in printed.out
