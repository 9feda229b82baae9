"""The loss by noise level of a run that was stopped between two validations."""

import shutil

import pytest

from genmods.cli import dispatch
from genmods.core import checkpoint as files
from genmods.tracking.series import read_metrics

RECIPE = """
name: d
seed: 3
task:
  name: diffusion
  network: {name: mlp, width: 8}
  process: cosine
  prediction: v
  sampler: {name: ddim, steps: 2}
data: {name: synthetic, side: 4, channels: 1, classes: 3, train_images: 40, batch_size: 10, val_fraction: 0.25}
trainer: {max_steps: 6, val_check_interval: 3, enable_progress_bar: false, accelerator: cpu, log_every_n_steps: 1}
callbacks:
  - {name: checkpoint, every_n_steps: 2, keep: 5}
  - {name: loss_by_noise, bins: 3}
logger: csv
"""


def losses(run):
    return [{name: row[name] for name in row if name.startswith("noise/")} for row in read_metrics(run / "metrics.csv")]


@pytest.mark.parametrize("bins", [3, 4])
def test_the_steps_before_a_stop_are_in_the_mean_of_the_interval(tmp_path, monkeypatch, bins):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    assert dispatch(["fit", "--config", "recipe.yaml", "--quiet"]) == 0
    (run,) = (tmp_path / "runs/d").iterdir()
    (early,) = (path for path in (run / "checkpoints").glob("*.ckpt") if files.load(path)["global_step"] == 2)
    whole = losses(run)
    assert sum(map(bool, whole)) == 2
    shutil.copy(early, run / "checkpoints/last.ckpt")
    again = ["fit", "--config", "recipe.yaml", "--quiet", "--ckpt_path", str(run)]
    assert dispatch([*again, f"--callbacks.1.bins={bins}"]) == 0
    assert (losses(run) == whole) is (bins == 3)
