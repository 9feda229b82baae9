"""`fit --seeds`: one run per seed, the mean of their figures, and a second call that continues them."""

import os
import signal
from statistics import mean, stdev

import pytest
from lightning.pytorch import Callback

from genmods.cli import dispatch
from genmods.config.text import parse, plain
from genmods.report.folder import find_runs, read_run
from genmods.report.seeds import by_seed
from genmods.runs import fit as fitting

RECIPE = """
seed: 7
task: {name: classification, network: {name: cnn, layers: ["conv 4", "linear 8"]}}
data: {name: digits, limit: 100, batch_size: 50}
trainer: {max_steps: 4, val_check_interval: 2, accelerator: cpu}
"""
FIT = ["fit", "--config", "small.yaml", "--quiet", "--seeds", "3"]


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """The folder of three runs, stopped within the second one and continued; what was printed at the end."""
    root = tmp_path_factory.mktemp("seeds")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        (root / "small.yaml").write_text(RECIPE)
        trained, make = [], fitting.make_trainer

        class StopsSecond(Callback):
            def on_train_batch_start(self, trainer, *_):
                if len(trained) == 2 and trainer.global_step == 1:
                    os.kill(os.getpid(), signal.SIGTERM)

        def counted(folder, task, settings, callbacks, *more):
            trained.append(folder)
            return make(folder, task, settings, [*callbacks, StopsSecond()], *more)

        patch.setattr(fitting, "make_trainer", counted)
        status = dispatch_stopped(FIT)
        assert status == 143 and len(trained) == 2
        assert dispatch([*FIT, "--ckpt_path", "auto"]) == 0
        yield root, trained


def dispatch_stopped(arguments):
    try:
        return dispatch(arguments)
    except SystemExit as stop:
        return stop.code


def test_each_seed_is_a_run_and_only_what_is_missing_is_trained(three):
    root, trained = three
    found = find_runs(root / "runs")
    assert [run.path.parent.name for run in found] == ["small-seed7", "small-seed8", "small-seed9"]
    assert trained == [
        found[0].path.relative_to(root),
        *[found[1].path.relative_to(root)] * 2,
        found[2].path.relative_to(root),
    ]
    assert [plain(parse(run.recipe_text, "r"))["seed"] for run in found] == [7, 8, 9]
    assert all(run.steps == 4 for run in found)


def test_the_mean_is_in_the_list_and_in_the_report(three, capsys, monkeypatch):
    root, _ = three
    monkeypatch.chdir(root)
    figures = [{figure["name"]: figure for figure in run.figures()} for run in find_runs(root / "runs")]
    best, last = ([figure["val/loss"][which] for figure in figures] for which in ("best", "last"))
    assert len(set(last)) == 3
    assert dispatch(["runs"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("small, seeds 7, 8, 9 (mean ± standard deviation): ")
    assert f"val/loss {mean(best):.4g} ± {stdev(best):.2g}" in line
    page = (root / "runs/small-seeds.html").read_text()
    assert f"{mean(last):.4g} \\u00b1 {stdev(last):.2g}" in page


def test_a_third_call_trains_nothing(three, capsys, monkeypatch):
    root, trained = three
    monkeypatch.chdir(root)
    assert dispatch([*FIT, "--ckpt_path", "auto"]) == 0
    assert len(trained) == 4 and "seeds 7, 8, 9: mean ± standard deviation\n" in capsys.readouterr().out


def test_runs_of_other_settings_or_fewer_steps_are_no_seeds_of_it(three, tmp_path):
    root, _ = three
    runs = find_runs(root / "runs")
    other = tmp_path / "other"
    other.mkdir()
    (other / "recipe.yaml").write_text(runs[1].recipe_text.replace("batch_size: 50", "batch_size: 25"))
    (other / "metrics.csv").write_text((runs[1].path / "metrics.csv").read_text())
    (group,) = by_seed([runs[0], runs[2], read_run(other)])
    assert group.seeds == ["7", "9"]
    lines = (runs[1].path / "metrics.csv").read_text().splitlines(keepends=True)
    (other / "recipe.yaml").write_text(runs[1].recipe_text)
    (other / "metrics.csv").write_text("".join(lines[:2]))
    (group,) = by_seed([runs[0], read_run(other), runs[2]])
    assert group.seeds == ["7", "9"]
    assert by_seed(runs[:1]) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--seeds", "1"], "--seeds must be at least 2, got 1"),
        (["--seeds", "3", "--ckpt_path", "runs/x"], "--ckpt_path must be auto or last with --seeds, got runs/x"),
        (["--seeds", "three"], "--seeds"),
        (["--seeds", "2", "--seed=4294967295"], "seed must be an int from 0 to"),
    ],
)
def test_mistakes_are_one_line(three, capsys, monkeypatch, options, told):
    monkeypatch.chdir(three[0])
    assert dispatch(["fit", "--config", "small.yaml", *options]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_seeds_are_for_training(three, monkeypatch, capsys):
    monkeypatch.chdir(three[0])
    assert dispatch(["test", "--config", "small.yaml", "--ckpt_path", "last", "--seeds", "2"]) == 2
    assert capsys.readouterr().err == "--seeds is an option of fit, not of test\n"
