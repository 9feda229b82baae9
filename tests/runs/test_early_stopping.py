"""Training that ends, and a learning rate that falls, when validations improve no more; the same in a resumed run."""

import pytest
from lightning.pytorch.tuner.tuning import Tuner

from genmods.callbacks.early_stopping import EarlyStopping
from genmods.cli import dispatch
from genmods.core.errors import UserError
from genmods.optim.muon import Muon
from genmods.optim.plateau import ReduceOnPlateau
from genmods.runs import fit as fits
from genmods.runs.find_lr import find_lr
from genmods.tracking.series import read_metrics
from support.scored import Scored, batches, trainer
from support.small_runs import CNN, classifier

MUON = {"name": "muon", "lr": 0.02, "adam_lr": 0.005}
ACCURACIES = {1: 0.5, 2: 0.6, 3: 0.6, 4: 0.55, 5: 0.7, 6: 0.7, 7: float("nan"), 8: 0.69, 9: 0.9, 10: 0.9}


def stops_at(folder, stop, steps=10, ckpt_path=None):
    _, run = trainer(folder, [stop], max_steps=steps, val_check_interval=1)
    run.fit(Scored(dict(ACCURACIES)), batches(10), batches(1), ckpt_path=ckpt_path)
    return run.global_step


@pytest.mark.parametrize(
    ("patience", "delta", "step"), [(1, 0.0, 3), (2, 0.0, 4), (3, 0.0, 8), (3, 0.3, 4), (9, 0.0, 10)]
)
def test_ends_after_so_many_validations_without_an_improvement(tmp_path, capsys, patience, delta, step):
    assert stops_at(tmp_path, EarlyStopping("val/acc", patience=patience, min_delta=delta)) == step
    assert ("stopped early" in capsys.readouterr().err) == (step < 10)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_metric_that_is_never_finite_ends_with_a_line(tmp_path, capsys, value):
    _, run = trainer(tmp_path, [EarlyStopping("val/acc", patience=2)], max_steps=5, val_check_interval=1)
    run.fit(Scored(dict.fromkeys(range(1, 6), value)), batches(5), batches(1))
    assert "stopped early at step 2: val/acc has never been finite\n" in capsys.readouterr().err


@pytest.mark.parametrize("between", [3, 5, 6, 7])
def test_a_resumed_run_ends_at_the_same_step(tmp_path, between):
    assert stops_at(tmp_path, EarlyStopping("val/acc", patience=3), between) == between
    last = tmp_path / "checkpoints/last.ckpt"
    assert stops_at(tmp_path, EarlyStopping("val/acc", patience=3), 10, last) == 8
    assert stops_at(tmp_path, EarlyStopping("val/acc", patience=3), 10, last) == 8, "it has ended"
    assert stops_at(tmp_path, EarlyStopping("val/acc", patience=4), 10, last) == 10, "and continues with more patience"


def test_a_metric_that_is_not_logged_and_a_task_without_one_are_refused(tmp_path):
    with pytest.raises(UserError, match="'val/accc' is not logged; there are: val/acc"):
        stops_at(tmp_path, EarlyStopping("val/accc", mode="max"))
    with pytest.raises(UserError, match="a metric to monitor, or a `monitor`, got Scored"):
        stops_at(tmp_path, EarlyStopping())


@pytest.mark.usefixtures("workplace")
class TestOfARun:
    def rates(self, name, steps, ckpt_path=None, **settings):
        schedule = {"name": "reduce_on_plateau", "monitor": "val/loss", "factor": 0.5, "patience": 0, "threshold": 0.9}
        given = classifier(
            CNN,
            name=name,
            schedule=schedule | settings,
            optimizer={"name": "sgd", "lr": 0.1},
            trainer={"max_steps": steps, "val_check_interval": 2, "log_every_n_steps": 1},
        )
        run = fits.fit(given, ckpt_path, quiet=True)
        return run, [float(row["train/lr"]) for row in read_metrics(run / "metrics.csv")]

    def test_the_rate_falls_after_each_validation_without_an_improvement(self):
        """No loss falls by nine tenths in two steps, so that each validation after the first halves the rate."""
        run, whole = self.rates("plateau", 8)
        assert whole == pytest.approx([0.1] * 4 + [0.05] * 2 + [0.025] * 2)
        run, _ = self.rates("parts", 4)
        assert self.rates("parts", 8, str(run))[1] == whole
        assert self.rates("patient", 6, patience=9)[1] == pytest.approx([0.1] * 6)

    def test_the_learning_rate_finder(self, capsys):
        given = classifier(CNN, name="range", optimizer={"name": "sgd", "lr": 0.1}, trainer={"max_steps": 5})
        found = find_lr(given, 1e-5, 10.0, 40)
        assert found.rates == sorted(found.rates) and len(found.rates) == len(found.losses) >= 30
        assert 1e-5 < found.suggestion < 10
        assert dispatch(["find_lr", "--config", "runs/range.yaml", "--steps", "5"]) == 2
        assert "at least 10 steps" in capsys.readouterr().err

    def test_a_range_test_keeps_the_ratios_of_rates(self, monkeypatch):
        used = []

        def note(optimizer, *_):
            ratios = [group.get("lr_scale", 1.0) * (1 if group["matrix"] else 0.25) for group in optimizer.param_groups]
            used.append([group["lr"] / ratio for group, ratio in zip(optimizer.param_groups, ratios, strict=True)])

        monkeypatch.setattr(Muon, "_step_muon", note)
        network = CNN | {"layers": ["conv 4", "conv 4", "linear 8"], "lr_scale": {"layers": 0.1}}
        found = find_lr(classifier(network, name="ratios", optimizer=MUON), 1e-5, 1e-2, 10)
        assert len(used) >= len(found.rates) >= 8
        assert all(rates == pytest.approx([lr] * len(rates)) for rates, lr in zip(used, found.rates, strict=False))

    def test_lightnings_tuner_finds_and_sets_the_rate_of_a_task(self, tmp_path):
        given = classifier(CNN, name="tuned", optimizer={"name": "sgd", "lr": 0.1}, trainer={"max_steps": 5})
        data = fits.build_data(given)
        task = fits.build_task(given, data.info)
        assert task.lr == 0.1
        made = fits.make_trainer(tmp_path, task, given.trainer.given | {"precision": "32"}, [], [])
        found = Tuner(made).lr_find(task, datamodule=data, num_training=30)
        assert task.lr == found.suggestion() != 0.1


@pytest.mark.parametrize("settings", [{"factor": 1.0}, {"factor": 0.0}, {"patience": -1}])
def test_impossible_plateaus(settings):
    with pytest.raises(ValueError, match="got"):
        ReduceOnPlateau(None, 10, **settings)


def test_a_warmup_longer_than_the_run_names_the_line(tmp_path, capsys):
    text = "task: {name: classification, network: cnn}\ndata: digits\nschedule: {name: cosine, warmup: 100}\n"
    (tmp_path / "r.yaml").write_text(text + "trainer: {max_steps: 20}\n")
    assert dispatch(["check", str(tmp_path / "r.yaml")]) == 2
    line = f"{tmp_path}/r.yaml:3: schedule.warmup: must be at most trainer.max_steps, 20, got 100"
    assert capsys.readouterr().err.startswith(line)
    assert dispatch(["check", str(tmp_path / "r.yaml"), "--trainer.fast_dev_run=true"]) == 0
