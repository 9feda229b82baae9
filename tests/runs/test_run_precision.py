"""The precision of a run: resolved at its start, printed, stored, and kept when it is resumed."""

import json

import pytest
import torch
from lightning.pytorch import Trainer

from genmods.callbacks.precision import SamePrecision
from genmods.core import checkpoint as files, precision
from genmods.runs.evaluate import evaluate
from genmods.runs.fit import fit
from genmods.tracking.csv import MetricsFile
from support.small_runs import CNN, classifier

pytestmark = pytest.mark.usefixtures("workplace")


@pytest.fixture
def machine(monkeypatch):
    """Makes this a machine with native bfloat16 or without, `gain` times as fast as float32; None: not measured."""

    def make(native=True, gain=None):
        monkeypatch.setattr(precision, "native_bfloat16", lambda device: native)
        fail = lambda *_: pytest.fail("measured")  # noqa: E731
        monkeypatch.setattr(precision, "bfloat16_gain", fail if gain is None else lambda *_: gain)

    return make


def fitted(steps=1, asked="auto", **place):
    given = classifier(CNN, name="precise", trainer={"max_steps": steps, "precision": asked, "accelerator": "cpu"})
    run = fit(given, **place)
    return run, files.load(run / "checkpoints/last.ckpt")["precision"]


def test_a_run_writes_down_what_it_resolved(machine, capsys, monkeypatch):
    configs = []
    begin = MetricsFile.begin
    monkeypatch.setattr(MetricsFile, "begin", lambda self, *args: (configs.append(args[1]), begin(self, *args)))
    machine(gain=3.0)
    run, resolved = fitted()
    assert resolved == "bf16-mixed"
    assert "precision bf16-mixed (bfloat16 is 3.0 times as fast as float32)\n" in capsys.readouterr().err
    assert json.loads((run / "environment.json").read_text())["precision"] == "bf16-mixed"
    assert configs[0]["environment"]["precision"] == "bf16-mixed" and configs[0]["trainer"]["precision"] == "auto"
    assert '"precision":"bf16-mixed"' in (run / "report.html").read_text().replace(": ", ":")
    assert "precision: auto" in (run / "recipe.yaml").read_text()


@pytest.mark.parametrize(("gain", "resolved"), [(3.0, "bf16-mixed"), (0.5, "32-true")])
def test_a_resumed_run_keeps_its_precision_without_a_measurement(machine, capsys, gain, resolved):
    machine(gain=gain)
    run, first = fitted()
    machine()
    again = fitted(2, ckpt_path=str(run))
    assert (first, again) == (resolved, (run, resolved))
    assert f"precision {resolved} (that of the checkpoint)\n" in capsys.readouterr().err
    evaluate(classifier(CNN, name="precise"), "test", str(run))
    assert f"precision {resolved} (that of the checkpoint)\n" in capsys.readouterr().err


def test_without_the_units_a_run_continues_in_float32_with_a_message(machine, capsys):
    machine(gain=3.0)
    run, _ = fitted(quiet=True)
    assert capsys.readouterr().err == ""
    machine(native=False)
    assert fitted(2, ckpt_path=str(run), quiet=True)[1] == "32-true"
    expected = "precision 32-true (the checkpoint has bf16-mixed, which cpu does not compute natively)\n"
    assert capsys.readouterr().err.startswith(expected)


def test_what_the_recipe_sets_is_not_measured(machine):
    machine()
    run, resolved = fitted(asked="bf16")
    assert resolved == "bf16-mixed"
    assert fitted(2, asked="32", ckpt_path=str(run))[1] == "32-true"


def test_every_rank_computes_in_the_precision_of_rank_zero(monkeypatch):
    for decided in ("bf16-mixed", "32-true"):
        trainer = Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
        monkeypatch.setattr(trainer.strategy, "broadcast", lambda value, src=0, decided=decided: decided)
        SamePrecision().setup(trainer, None, "fit")
        assert trainer.precision == decided
        with trainer.precision_plugin.forward_context():
            assert torch.is_autocast_enabled("cpu") is (decided == "bf16-mixed")
