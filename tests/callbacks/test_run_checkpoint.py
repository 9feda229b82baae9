"""When `last.ckpt` is written, and which `best.ckpt` survives a run that was stopped and continued."""

import pytest

from genmods.callbacks.checkpoint import RunCheckpoint
from genmods.callbacks.stopping import StopOnRequest, StopSignals
from genmods.core import checkpoint as files
from genmods.tracking.monitor import Score
from support.scored import Scored, batches, trainer


def test_the_best_of_a_validation_after_the_last_save_is_not_forgotten(tmp_path):
    class Killed(BaseException):
        """The process ends here."""

    module = Scored({1: 0.9, 2: 0.93, 3: 0.95, 4: 0.96})
    checkpoint, first = trainer(tmp_path, max_steps=4, val_check_interval=1)
    save = checkpoint._save

    def save_and_die(trainer, path):
        save(trainer, path)
        if path.name == "best.ckpt" and trainer.global_step == 3:
            raise Killed

    checkpoint._save = save_and_die
    with pytest.raises(Killed):
        first.fit(module, batches(4), batches(1))
    assert files.load(tmp_path / "checkpoints/last.ckpt")["callbacks"]["RunCheckpoint"]["best"][
        "value"
    ] == pytest.approx(0.93)
    module.scores[3] = 0.94  # which it is not, but would show what is remembered
    for steps, best, at in ((3, 0.95, 3), (4, 0.96, 4)):
        checkpoint, again = trainer(tmp_path, max_steps=steps, val_check_interval=1)
        again.fit(module, batches(4), batches(1), ckpt_path=tmp_path / "checkpoints/last.ckpt")
        assert checkpoint.best.value == pytest.approx(best)
        assert files.load(tmp_path / "checkpoints/best.ckpt")["global_step"] == at


def test_nothing_is_saved_and_nothing_stops_between_accumulated_batches(tmp_path):
    module, saved = Scored({}), []
    module.on_train_batch_end = lambda *_: None
    checkpoint, run = trainer(tmp_path, max_steps=4, accumulate_grad_batches=3, limit_val_batches=0)
    checkpoint._save = lambda trainer, path: saved.append(trainer.fit_loop.epoch_loop.batch_progress.total.processed)
    run.fit(module, batches(12))
    assert saved == [6, 12]
    checkpoint = RunCheckpoint(every_n_steps=2)
    checkpoint._save = lambda trainer, path: saved.append(trainer.fit_loop.epoch_loop.batch_progress.total.processed)
    stop = StopOnRequest(signals := StopSignals(), checkpoint)
    settings = {"max_steps": 4, "accumulate_grad_batches": 3, "limit_val_batches": 0}
    _, run = trainer(tmp_path, [stop], checkpoint, **settings)
    signals.received = 15
    with pytest.raises(SystemExit):
        run.fit(module, batches(12))
    assert saved == [6, 12, 3]


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ({1: (0.9, 3.0), 2: (1.0, 2.0), 3: (1.0, 1.0), 4: (0.9, 0.5)}, 3),
        ({1: (1.0, 1.0), 2: (1.0, 2.0), 3: (1.0, 1.0), 4: (1.0, float("nan"))}, 3),
        ({1: (1.0, 1.0), 2: (float("nan"), 0.1), 3: (0.5, 0.1), 4: (0.5, 0.1)}, 1),
    ],
)
def test_of_equal_accuracies_the_lowest_loss_is_best_and_then_the_last(tmp_path, scores, best):
    module = Scored({step: {"acc": acc, "loss": loss} for step, (acc, loss) in scores.items()})
    _, run = trainer(tmp_path, max_steps=4, val_check_interval=1)
    run.fit(module, batches(4), batches(1))
    saved = files.load(tmp_path / "checkpoints/best.ckpt")
    assert saved["global_step"] == saved["figures"]["step"] == best
    assert saved["figures"]["values"]["val/loss"] == scores[best][1]


def test_without_a_loss_the_last_of_equals_is_best():
    assert Score(1.0).improves(Score(1.0), "max") and Score(1.0).improves(Score(1.0), "min")
    assert not Score(0.9).improves(Score(1.0), "max") and Score(0.9).improves(Score(1.0), "min")


@pytest.mark.parametrize(("keep", "steps"), [(0, []), (2, [4, 6]), (-1, [2, 4, 6])])
def test_the_requested_number_of_checkpoints_is_kept(tmp_path, keep, steps):
    checkpoint = RunCheckpoint(every_n_steps=2, keep=keep)
    _, run = trainer(tmp_path, checkpoint=checkpoint, max_steps=7, limit_val_batches=0)
    run.fit(Scored({}), batches(10))
    kept = sorted((tmp_path / "checkpoints").glob("step_*.ckpt"))
    assert [path.name for path in kept] == [f"step_{step:06d}.ckpt" for step in steps]
    assert [files.load(path)["global_step"] for path in kept] == steps
    assert files.load(tmp_path / "checkpoints/last.ckpt")["global_step"] == 7
