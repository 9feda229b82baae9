"""The temperature after a fit: that of the weights in each checkpoint, raw and averaged; no part of the training."""

import itertools

import pytest
import torch
from torch.nn.functional import cross_entropy

from genmods.config.recipe import load
from genmods.core import checkpoint as files
from genmods.models import Classifier
from genmods.runs import folders
from genmods.runs.calibration import validation_batches
from genmods.runs.fit import build_data, fit

RECIPE = """
seed: 3
task:
  name: classification
  network: {name: cnn, layers: ["conv 8", "pool 2", "linear 16"]}
  label_smoothing: 0.2
  augment_test: flip_shift
data: {name: digits, limit: 300, batch_size: 50}
optimizer: {name: adamw, lr: 3e-3}
trainer: {max_steps: 24, accelerator: cpu}
callbacks: [{name: ema, decays: [0.8, 0.9]}]
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(RECIPE)
    return lambda *overrides: load("small.yaml", overrides)


def temperatures(checkpoint):
    return {float(w["model.temperature"]) for w in (checkpoint["state_dict"], *checkpoint["ema"]["weights"])}


def test_each_checkpoint_has_the_best_temperature_of_its_weights(recipe):
    folder = fit(recipe(), quiet=True)
    data = build_data(recipe())
    found = {}
    for path in (folder / "checkpoints").glob("*.ckpt"):
        (found[path.stem],) = temperatures(files.load(path))
        model, batches = folders.load(path), validation_batches(data, torch.device("cpu"))
        scores = torch.cat([model.scores(batch["image"]) for batch in batches]).double()
        losses = [cross_entropy(scores / (found[path.stem] * t), data.splits["val"].labels) for t in (0.95, 1.0, 1.05)]
        assert min(losses) == losses[1]
        assert float(folders.load(path).temperature) == float(folders.load(path, raw=True).temperature)
    assert set(found) == {"best", "last"} and 1.0 not in found.values()


def test_continuing_a_calibrated_run_is_training_on(recipe):
    whole = fit(recipe("--trainer.max_steps=30"), quiet=True)
    half = fit(recipe(), quiet=True)
    fit(recipe("--trainer.max_steps=30"), str(half), quiet=True)
    one, other = (files.load(folder / "checkpoints/last.ckpt") for folder in (whole, half))
    for name in ("state_dict", "ema"):
        assert files.digest(one[name]) == files.digest(other[name])


def test_a_damaged_checkpoint_beside_is_left_as_it_is(recipe, capsys):
    folder = fit(recipe(), quiet=True) / "checkpoints"
    older = folder / "step_000010.ckpt"
    older.write_bytes(damaged := (folder / "best.ckpt").read_bytes()[:-9000])
    fit(recipe("--trainer.max_steps=25"), str(folder.parent), quiet=True)
    assert older.read_bytes() == damaged and "step_000010.ckpt: " in capsys.readouterr().err
    assert temperatures(files.load(folder / "last.ckpt")) != {1.0}


def test_a_resumed_run_has_no_temperature_until_its_end(recipe, monkeypatch):
    folder = fit(recipe(), quiet=True)
    monkeypatch.setattr("genmods.runs.fit.calibrate", lambda *_: None)
    fit(recipe("--trainer.max_steps=30"), str(folder), quiet=True)
    last = files.load(folder / "checkpoints/last.ckpt")
    assert last["global_step"] == 30 and temperatures(last) == {1.0}


def test_nothing_is_fitted_without_validation_images_or_without_a_mistake(recipe, monkeypatch):
    folder = fit(recipe("--data.val_fraction=0"), quiet=True)
    assert temperatures(files.load(folder / "checkpoints/last.ckpt")) == {1.0}
    labels = build_data(recipe()).splits["val"].labels
    right = itertools.cycle(torch.eye(10)[labels].log_softmax(1).split(50))  # for each checkpoint again
    calibrate = Classifier.calibrate

    def without_a_mistake(model, batches):
        model.scores = lambda images: next(right)
        return calibrate(model, batches)

    monkeypatch.setattr(Classifier, "calibrate", without_a_mistake)
    folder = fit(recipe(), quiet=True)
    assert temperatures(files.load(folder / "checkpoints/last.ckpt")) == {1.0}
