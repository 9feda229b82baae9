"""Trainer settings that Lightning refuses are reported in one line; other errors are unchanged."""

from pathlib import Path

import pytest
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from genmods.cli import dispatch
from genmods.config.recipe import load
from genmods.core.errors import UserError
from genmods.runs import folders, loggers
from genmods.runs.evaluate import evaluate
from genmods.runs.fit import fit
from genmods.runs.trainer import refusals_in_one_line

CLASSIFICATION = """
task: {name: classification, network: {name: cnn, layers: ["conv 2", "avgpool"]}}
data: {name: digits, limit: 60, batch_size: 20}
trainer: {max_steps: 2, enable_progress_bar: false, accelerator: cpu}
"""


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("accelerator=tpu", "torch_xla"),
        ("devices=0", "devices=0"),
        ("strategy=ddpp", "invalid strategy name"),
    ],
)
def test_refused_settings(tmp_path, monkeypatch, capsys, override, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(CLASSIFICATION)
    assert dispatch(["fit", "--config", "recipe.yaml", "--quiet", f"--trainer.{override}"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("trainer: ") and line in error
    assert not Path("runs").exists()  # a refused Trainer leaves no run folder


def test_runs_of_one_second_have_folders_of_their_own_and_an_empty_one_goes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with folders.new_folder("a") as first, folders.new_folder("a") as second, folders.new_folder("a") as third:
        assert len({first, second, third}) == 3 and all(folder.is_dir() for folder in (first, second, third))
        (second / "recipe.yaml").write_text("")
    assert list(Path("runs/a").iterdir()) == [second]


def test_only_rank_zero_makes_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    with folders.new_folder("a") as folder:
        assert not folder.exists()


def test_a_logger_of_lightning_is_one_among_ours(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(CLASSIFICATION)
    ours = loggers.build_loggers
    for module in ("loggers", "fit"):
        target = f"genmods.runs.{module}.build_loggers"
        monkeypatch.setattr(target, lambda *given: [*ours(*given), CSVLogger("elsewhere")])
    recipe = load(Path("recipe.yaml"), ["--logger=null"])
    run = fit(recipe, quiet=True)
    evaluate(recipe, "test", None, quiet=True)
    assert "test/acc" in (run / "metrics.csv").read_text() and list(Path("elsewhere").rglob("metrics.csv"))


def test_faults_elsewhere_are_not_hidden():
    with pytest.raises(ValueError, match=r"^no setting$") as error, refusals_in_one_line():
        raise ValueError("no setting")
    assert not isinstance(error.value, UserError)
