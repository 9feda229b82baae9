"""A damaged checkpoint: a fit resumes from an older one of its run, a reading command takes the run's best or last."""

import os
import shutil

import pytest

from genmods.core import checkpoint as files
from genmods.core.errors import UserError
from genmods.core.locking import owned
from genmods.core.places import runs_folder
from genmods.runs import folders
from genmods.runs.fit import fit
from support.small_runs import CNN, classifier

CALLBACKS = [{"name": "checkpoint", "every_n_steps": 1, "keep": 2}, {"name": "ema", "decays": [0.9]}]


def recipe(steps, **more):
    return classifier(CNN, name="fallen", callbacks=CALLBACKS, overrides=[f"--trainer.max_steps={steps}"], **more)


@pytest.fixture(scope="module")
def trained(workplace):
    return fit(recipe(3), quiet=True)


@pytest.fixture
def run(trained):
    """A copy of a run of 3 steps with last, best and step_000002 and step_000003, the only one there is."""
    folder = trained.parent / "copy"
    shutil.copytree(trained, folder)
    hidden = trained.rename(runs_folder() / "hidden")
    yield folder
    shutil.rmtree(folder)
    hidden.rename(trained)


def damage(run, *names):
    for name in names:
        path = run / "checkpoints" / f"{name}.ckpt"
        path.write_bytes(path.read_bytes()[:-100])


def test_a_reading_command_takes_the_next_one_of_the_run(run, capsys):
    damage(run, "best")
    assert folders.find_checkpoint(run).name == "last.ckpt"
    assert "best.ckpt: " in (told := capsys.readouterr().err) and "last.ckpt of step 3 is used instead" in told
    damage(run, "last")
    assert folders.find_checkpoint(run).name == "step_000003.ckpt"


def test_a_fit_resumes_from_an_older_one_and_names_what_is_lost(run, capsys):
    damage(run, "last", "step_000003")
    assert fit(recipe(5), str(run), quiet=True) == run
    told = capsys.readouterr().err
    assert "step_000002.ckpt of step 2 is used instead; 1 step is lost" in told
    assert files.load(run / "checkpoints" / "last.ckpt")["global_step"] == 5


@pytest.mark.parametrize("key", ["loops", "optimizer_states", "lr_schedulers", "recipe.optimizer"])
def test_a_checkpoint_without_what_a_resume_needs_is_one_line(run, key):
    path = run / "checkpoints" / "last.ckpt"
    content = files.load(path)
    inside = content["recipe"] if "." in key else content
    del inside[key.rpartition(".")[2]]
    files.save(content, path)
    with pytest.raises(UserError, match=rf"last\.ckpt: has no {key}, so that training cannot be resumed"):
        fit(recipe(5), str(run), quiet=True)


@pytest.mark.parametrize(
    ("key", "value"),
    [("optimizer_states", [{}]), ("optimizer_states", [3]), ("loops", {})],
)
def test_states_of_training_that_do_not_fit_are_one_line_with_the_checkpoint(run, key, value):
    path = run / "checkpoints" / "last.ckpt"
    files.save({**files.load(path), key: value}, path)
    with pytest.raises(UserError, match=rf"{path}: its states of training cannot be restored \(\w+Error: .*\)$"):
        fit(recipe(5), str(run), quiet=True)


def test_a_fit_does_not_go_back_to_the_best(run):
    damage(run, "last", "step_000003", "step_000002")
    with pytest.raises(UserError, match=r"last\.ckpt: .*best\.ckpt of step \d is readable") as caught:
        fit(recipe(5), str(run), quiet=True)
    assert "\n" not in str(caught.value)
    assert fit(recipe(5), str(run / "checkpoints" / "best.ckpt"), quiet=True) == run


def test_a_damaged_best_does_not_stop_a_good_run(run, capsys):
    damage(run, "best")
    assert fit(recipe(5), str(run), quiet=True) == run
    told = capsys.readouterr().err
    assert "best.ckpt: not a readable checkpoint" in told and "the next validation writes a new one" in told
    assert files.load(run / "checkpoints" / "last.ckpt")["global_step"] == 5


def test_changes_are_reported_in_one_line(run, capsys):
    fit(recipe(4, optimizer={"name": "adamw", "lr": 0.01}), str(run), quiet=True)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "resumed with other settings" in line]
    assert "optimizer.lr 0.001 -> 0.01" in line and "max_steps" not in line


def test_an_unchanged_resume_prints_nothing(run, capsys):
    fit(recipe(4), str(run), quiet=True)
    assert "other settings" not in capsys.readouterr().err


def test_a_killed_process_is_reported(run, capsys):
    folders.write_status(run, "running", 0)
    fit(recipe(4), str(run), quiet=True)
    assert "the last process was killed after step 3" in capsys.readouterr().err
    assert folders.status(run) == ("finished", 4)


def test_a_second_fit_into_a_live_run_is_refused(run):
    before = sorted((path.name, path.stat().st_mtime_ns) for path in run.rglob("*"))
    with owned(run):
        with pytest.raises(UserError, match=rf"^{run}: process {os.getpid()} on .* is writing to this folder$"):
            fit(recipe(5), str(run), quiet=True)
        assert sorted((path.name, path.stat().st_mtime_ns) for path in run.rglob("*") if path.name != ".lock") == before
    assert fit(recipe(4), str(run), quiet=True) == run
