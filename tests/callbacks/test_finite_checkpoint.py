"""Nothing that is not finite is written: weights, buffers, averages, the optimizer; what was there stays."""

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader, TensorDataset

from genmods.callbacks.checkpoint import AtomicCheckpointIO, RunCheckpoint
from genmods.callbacks.ema import EMA
from genmods.callbacks.finite_checkpoint import FiniteCheckpoint
from genmods.core import checkpoint as files
from genmods.core.errors import UserError
from genmods.runs.step_loop import StepLoop


class Spiked(LightningModule):
    """A weight and a buffer, of which `what` goes wrong in the third step."""

    def __init__(self, what=""):
        super().__init__()
        self.inner = torch.nn.Linear(1, 1)
        self.register_buffer("statistic", torch.ones(2))
        self.register_buffer("edges", torch.tensor([-torch.inf, 0.0, torch.inf]))
        self.what = what

    def training_step(self, batch, index):
        return self.inner(batch[0]).mean()

    def on_before_optimizer_step(self, optimizer):
        if self.global_step != 2:
            return
        if self.what == "gradient":
            self.inner.weight.grad.fill_(1e30)
        elif self.what == "buffer":
            self.statistic[0] = torch.inf
        elif self.what == "edges":
            self.edges[1] = torch.nan
        elif self.what == "average":
            self.trainer.callbacks[0].shadows[0]["inner.bias"].fill_(torch.nan)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters())


def run(module, folder):
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_steps=4,
        callbacks=[EMA((0.9,)), FiniteCheckpoint(), RunCheckpoint(every_n_steps=2)],
        plugins=[AtomicCheckpointIO()],
        default_root_dir=folder,
    )
    StepLoop.install(trainer)
    trainer.fit(module, DataLoader(TensorDataset(torch.ones(4, 1))))


SAID = {
    "gradient": "the optimizer's exp_avg_sq of inner.weight",
    "buffer": "statistic",
    "edges": "edges",
    "average": "the average of inner.bias",
}


@pytest.mark.parametrize("what", SAID)
def test_the_file_of_before_stays_and_what_went_wrong_is_named(tmp_path, what):
    with pytest.raises(UserError, match=f"step 4: {SAID[what]} is not finite; nothing was overwritten"):
        run(Spiked(what), tmp_path)
    assert files.load(tmp_path / "checkpoints" / "last.ckpt")["global_step"] == 2


def test_a_buffer_that_is_born_infinite_is_let_be(tmp_path):
    run(Spiked(), tmp_path)
    assert files.load(tmp_path / "checkpoints" / "last.ckpt")["global_step"] == 4
