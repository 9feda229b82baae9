"""What an evaluation of a restoration leaves in its run folder: figures in the metrics file, a picture, a report."""

import json

import pytest
from PIL import Image

from genmods.cli import dispatch
from genmods.tracking.series import read_series

DIFFUSION = """
task: {name: diffusion, network: {name: unet, width: 8, multipliers: [1]}, process: cosine, prediction: v}
data: {name: digits, limit: 64, batch_size: 32}
trainer: {max_steps: 2, accelerator: cpu}
"""
RESTORATION = """
task: {name: restoration, model: {from: runs/model}, operator: OPERATOR, sigma: 25, steps: 2}
data: {name: digits, limit: 64, batch_size: 4}
trainer: {accelerator: cpu}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("restoration")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        (root / "model.yaml").write_text(DIFFUSION)
        assert dispatch(["fit", "--config", "model.yaml", "--quiet"]) == 0
        yield root


@pytest.mark.parametrize("operator", ["identity", "box", "average"])
def test_a_restoration_is_a_separate_run(root, operator):
    (root / f"{operator}.yaml").write_text(RESTORATION.replace("OPERATOR", operator))
    assert dispatch(["test", "--config", f"{operator}.yaml", "--quiet"]) == 0
    (run,) = (root / "runs" / operator).iterdir()
    assert {"test/psnr", "test/ssim"} <= set(read_series(run / "metrics.csv"))
    with Image.open(run / "samples" / "test_restored_000001.png") as picture:
        assert picture.size[0] > picture.size[1]
    assert "test_restored" in (run / "report.html").read_text() and (run / "recipe.yaml").is_file()


def test_validation_images_stand_under_their_own_name_and_are_restored_once(root, monkeypatch):
    from genmods.tasks.restoration import RestorationTask
    from genmods.tracking.base import Logbook

    calls, tables, restored = [], {}, RestorationTask.restored
    monkeypatch.setattr(RestorationTask, "restored", lambda *parts: calls.append(len(parts[1])) or restored(*parts))
    monkeypatch.setattr(Logbook, "rows", lambda self, key, columns, rows: tables.update({key: rows}))
    (root / "seen.yaml").write_text(RESTORATION.replace("OPERATOR", "box"))
    assert dispatch(["validate", "--config", "seen.yaml", "--quiet", "--data.limit=10"]) == 0
    (run,) = (root / "runs/seen").iterdir()
    figures = json.loads((run / "validate.json").read_text())["figures"]
    assert set(figures) == {"val/psnr", "val/ssim"} <= set(read_series(run / "metrics.csv"))
    assert "test/psnr" not in read_series(run / "metrics.csv") and (run / "samples/val_restored_000001.png").is_file()
    (rows,) = tables.values()
    assert list(tables) == ["val/restored"] and len(rows) == 8 and sum(calls) == 10
