"""When `last.ckpt` is written, and which `best.ckpt` survives a run that was stopped and continued."""

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader, TensorDataset

from genmods.callbacks.checkpoint import AtomicCheckpointIO, RunCheckpoint
from genmods.callbacks.stopping import StopOnSignal
from genmods.core import checkpoint as files


class Scored(LightningModule):
    """A weight that moves by its gradient, and a score for each validation, by optimizer step."""

    def __init__(self, scores):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.scores = scores

    def training_step(self, batch, index):
        return (self.weight * batch[0]).mean()

    def validation_step(self, batch, index):
        self.log("val/acc", self.scores[self.trainer.global_step])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(folder, callbacks=(), **settings):
    checkpoint = RunCheckpoint(every_n_steps=2, monitor="val/acc")
    return checkpoint, Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[*callbacks, checkpoint],
        plugins=[AtomicCheckpointIO()],
        default_root_dir=folder,
        **settings,
    )


def batches(count):
    return DataLoader(TensorDataset(torch.arange(count).float().view(-1, 1)), batch_size=1)


def test_the_best_of_a_validation_after_the_last_save_is_not_forgotten(tmp_path):
    class Killed(BaseException):
        """The process ends here."""

    module = Scored({1: 0.9, 2: 0.95, 3: 0.93, 4: 0.96})
    checkpoint, first = trainer(tmp_path, max_steps=4, val_check_interval=1)
    save = checkpoint._save

    def save_and_die(trainer, path):
        save(trainer, path)
        if path.name == "best.ckpt" and trainer.global_step == 2:
            raise Killed

    checkpoint._save = save_and_die
    with pytest.raises(Killed):
        first.fit(module, batches(4), batches(1))
    assert files.load(tmp_path / "checkpoints/last.ckpt")["callbacks"]["RunCheckpoint"]["best"] == pytest.approx(0.9)
    for steps, best, at in ((3, 0.95, 2), (4, 0.96, 4)):
        checkpoint, again = trainer(tmp_path, max_steps=steps, val_check_interval=1)
        again.fit(module, batches(4), batches(1), ckpt_path=tmp_path / "checkpoints/last.ckpt")
        assert checkpoint.best == pytest.approx(best)
        assert files.load(tmp_path / "checkpoints/best.ckpt")["global_step"] == at


def test_nothing_is_saved_and_nothing_stops_between_accumulated_batches(tmp_path):
    module, saved = Scored({}), []
    module.on_train_batch_end = lambda *_: None
    checkpoint, run = trainer(tmp_path, max_steps=4, accumulate_grad_batches=3, limit_val_batches=0)
    checkpoint._save = lambda trainer, path: saved.append(trainer.fit_loop.epoch_loop.batch_progress.total.processed)
    run.fit(module, batches(12))
    assert saved == [6, 12]
    checkpoint, run = trainer(tmp_path, [stop := StopOnSignal(checkpoint)], max_steps=4, accumulate_grad_batches=3)
    checkpoint._save = stop.checkpoint._save
    stop.received = 15
    with pytest.raises(SystemExit):
        run.fit(module, batches(12))
    assert saved == [6, 12, 3]
