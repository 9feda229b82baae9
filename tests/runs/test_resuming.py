"""A run that was stopped, timed out or requeued resumes exactly: weights, rows and validations."""

import itertools
import os
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback

from genmods import register
from genmods.cli import dispatch
from genmods.config import registry
from genmods.config.recipe import load
from genmods.core import checkpoint as files
from genmods.runs.fit import fit
from genmods.tracking.series import read_metrics

RECIPE = """
name: long
seed: 3
task: {name: classification, network: {name: cnn, layers: ["conv 4", "pool 2", "dropout 0.3", "linear 8"], norm: group}}
data: {name: digits, limit: 200, batch_size: 40, augment: [translate]}
schedule: {name: cosine, warmup: 2}
trainer: {max_steps: 12, val_check_interval: 4, log_every_n_steps: 1, accumulate_grad_batches: 2,
          enable_progress_bar: false, accelerator: cpu}
callbacks:
  - {name: ema, decays: [0.9]}
  - {name: checkpoint, every_n_steps: 5}
  - {name: interrupt}
"""
TIMES = ("train/images_per_s", "train/memory_gb")


@register("callback", "interrupt")
class Interrupt(Callback):
    """Sends this process a signal when it first comes to the place in `GENMODS_TEST_STOP`, as HOOK:STEP:NAME."""

    def stop(self, hook, trainer):
        wanted, _, rest = os.environ.get("GENMODS_TEST_STOP", "").partition(":")
        if wanted == hook and int(rest.split(":")[0]) == trainer.global_step:
            del os.environ["GENMODS_TEST_STOP"]
            os.kill(os.getpid(), getattr(signal, rest.split(":")[1]))

    def on_train_batch_start(self, trainer, pl_module, *_):
        self.stop("batch", trainer)

    def on_validation_batch_start(self, trainer, pl_module, *_):
        self.stop("sanity" if trainer.sanity_checking else "validation", trainer)

    def on_validation_epoch_end(self, trainer, pl_module):
        self.stop("judging", trainer)

    def on_train_end(self, trainer, pl_module):
        self.stop("end", trainer)

    def on_fit_start(self, trainer, pl_module):
        self.stop("start", trainer)


@pytest.fixture(autouse=True)
def defaults():
    """Signals as in a terminal; a background job has some of them ignored."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def go(folder, *arguments, stop=None):
    """The status of `fit`, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        if stop:
            patch.setenv("GENMODS_TEST_STOP", stop)
        (folder / "recipe.yaml").write_text(RECIPE)
        try:
            return dispatch(["fit", "--config", "recipe.yaml", "--quiet", *arguments])
        except SystemExit as ended:
            return ended.code


def outcome(folder):
    """The weights, and the rows of metrics without what depends on the time."""
    (run,) = (folder / "runs/long").iterdir()
    saved = files.load(run / "checkpoints/last.ckpt")
    best = files.load(run / "checkpoints/best.ckpt")
    rows = [
        {name: text for name, text in row.items() if name not in TIMES} for row in read_metrics(run / "metrics.csv")
    ]
    return saved["global_step"], files.digest([saved["state_dict"], saved["ema"], best["global_step"]]), rows


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a run that was never stopped comes to."""
    folder = tmp_path_factory.mktemp("whole")
    assert go(folder) == 0
    found = outcome(folder)
    assert found[0] == 12 and [int(row["step"]) for row in found[2]] == list(range(12))
    assert [int(row["step"]) for row in found[2] if "val/acc" in row] == [3, 7, 11]
    return found


@pytest.mark.parametrize(
    ("stop", "status", "step"),
    [
        ("batch:3:SIGTERM", 143, 4),  # in the step at which a validation is due
        ("batch:6:SIGHUP", 129, 7),
        ("validation:8:SIGINT", 130, 8),
        ("judging:12:SIGTERM", 143, 12),  # in the validation of the last step
        ("end:12:SIGHUP", 129, 12),  # while the report is written
    ],
)
def test_stopped_by_a_signal(tmp_path, whole, capsys, stop, status, step):
    assert go(tmp_path, stop=stop) == status
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"stopped at step {step}; resume with: python -m genmods fit --config runs/long/")
    assert go(tmp_path, "--ckpt_path", "auto") == 0
    assert outcome(tmp_path) == whole


@pytest.mark.parametrize("stop", ["start:0:SIGTERM", "sanity:0:SIGTERM"])
def test_stopped_before_the_first_step(tmp_path, capsys, stop):
    assert go(tmp_path, "--trainer.num_sanity_val_steps=2", stop=stop) == 143
    assert capsys.readouterr().err.strip().splitlines() == ["stopped before the first step"]
    assert not list(tmp_path.rglob("last.ckpt"))


def test_stopped_during_the_first_import(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(registry, "imported", lambda target: os.kill(os.getpid(), signal.SIGTERM))
    assert go(tmp_path) == 143
    assert capsys.readouterr().err.strip().splitlines() == ["stopped before the first step"]
    assert not (tmp_path / "runs").exists()


def test_a_chain_of_time_budgets(tmp_path, whole, capsys, monkeypatch):
    """Each of five starts has a budget of three looks at the clock, which are at steps and validations."""
    from genmods.callbacks import stopping

    for _ in range(5):
        monkeypatch.setattr(stopping, "time", SimpleNamespace(monotonic=itertools.count().__next__))
        assert go(tmp_path, "--ckpt_path", "auto", "--trainer.max_time=00:00:00:03") == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "max_time" in line]
    steps = [int(line.split("step ")[1].split(";")[0]) for line in told]
    assert len(steps) >= 4 and steps == sorted(set(steps)) and steps[0] == 3
    assert outcome(tmp_path) == whole
    assert go(tmp_path, "--ckpt_path", "auto") == 0
    assert "nothing was trained: the run is at step 12, trainer.max_steps is 12" in capsys.readouterr().err
    assert outcome(tmp_path) == whole


def test_a_requeued_job_continues_in_its_folder(tmp_path, whole, monkeypatch, capsys):
    for name, value in {"JOB_ID": "77", "JOB_NAME": "train", "NTASKS": "1", "NNODES": "1", "NODEID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_LOCALID", "0")
    assert go(tmp_path, stop="batch:5:SIGUSR1") == 143
    assert go(tmp_path) == 0
    assert "SLURM job 77 resumes runs/long/" in capsys.readouterr().err
    assert outcome(tmp_path) == whole and not list(tmp_path.rglob("hpc_ckpt*"))
    assert go(tmp_path, "--trainer.max_steps=2") == 0  # another recipe of the same job is a separate run
    assert len(list((tmp_path / "runs/long").iterdir())) == 2


def test_a_fit_in_a_thread(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(RECIPE)
    before = signal.getsignal(signal.SIGTERM)
    found = []
    given = load("recipe.yaml", ["--trainer.max_steps=2"])
    thread = threading.Thread(target=lambda: found.append(fit(given, quiet=True)))
    thread.start()
    thread.join()
    assert files.load(found[0] / "checkpoints/last.ckpt")["global_step"] == 2
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("trial", ["fast_dev_run=true", "overfit_batches=1"])
def test_a_trial_leaves_nothing_that_last_finds(tmp_path, capsys, trial):
    assert go(tmp_path, f"--trainer.{trial}") == 0
    assert not list(tmp_path.rglob("*.ckpt"))
