"""A sweep on this machine, stopped and continued: finished runs are kept, one table is written."""

import csv

import pytest

import genmods.runs.fit as training
from genmods.callbacks.stopping import Stopped
from genmods.cli import dispatch
from genmods.runs import folders
from genmods.runs.run import Run
from support.small_runs import CNN, classifier

SWEEP = """command: [genmods, fit, --config, {config}, "${{args}}"]
method: grid
metric: {{name: val/loss, goal: minimize}}
parameters:
  seed: {{values: [1, 2]}}
  optimizer.lr: {{value: 1e-3}}
"""


def test_a_stopped_sweep_is_continued(workplace, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GENMODS_RUNS", str(tmp_path / "runs"))
    (tmp_path / "runs").mkdir()
    config = classifier(CNN, name="tiny").source
    path = tmp_path / "tiny_sweep.yaml"
    path.write_text(SWEEP.format(config=config))
    fits, real = [], training.fit

    def fit(recipe, *arguments):
        fits.append(recipe.seed)
        if fits == [1, 2]:
            raise Stopped(143)
        return real(recipe, *arguments)

    monkeypatch.setattr(training, "fit", fit)
    with pytest.raises(SystemExit):
        dispatch(["sweep", str(path)])
    assert "the same command continues the sweep" in capsys.readouterr().err
    assert dispatch(["sweep", str(path)]) == 0
    assert fits == [1, 2, 2]
    printed = capsys.readouterr().out.splitlines()
    with (tmp_path / "runs" / "tiny_sweep.csv").open() as file:
        header, *rows = csv.reader(file)
    assert header == ["seed", "optimizer.lr", "val/loss (best)", "val/loss (last)", "run"]
    assert len(rows) == 2 == len(printed) - 1 and sorted(row[0] for row in rows) == ["1", "2"]
    for row in rows:
        assert float(row[2]) == pytest.approx(Run(row[4]).figures["val/loss"], rel=1e-5)
        assert folders.status(Run(row[4]).folder)[0] == "finished"
    assert float(rows[0][2]) <= float(rows[1][2])
    assert dispatch(["sweep", str(path)]) == 0 and fits == [1, 2, 2]
