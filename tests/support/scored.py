"""A module whose validations have scores that are given, and a Trainer with a checkpoint for it."""

import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader, TensorDataset

from genmods.callbacks.checkpoint import AtomicCheckpointIO, RunCheckpoint
from genmods.runs.step_loop import StepLoop


class Scored(LightningModule):
    """A weight that moves by its gradient, and a score for each validation, by optimizer step."""

    def __init__(self, scores):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.scores = scores

    def training_step(self, batch, index):
        return (self.weight * batch[0]).mean()

    def validation_step(self, batch, index):
        score = self.scores[self.trainer.global_step]
        for name, value in score.items() if isinstance(score, dict) else [("acc", score)]:
            self.log(f"val/{name}", value)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(folder, callbacks=(), checkpoint=None, **settings):
    checkpoint = checkpoint or RunCheckpoint(every_n_steps=2, monitor="val/acc")
    made = Trainer(
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
    StepLoop.install(made)
    return checkpoint, made


def batches(count):
    return DataLoader(TensorDataset(torch.arange(count).float().view(-1, 1)), batch_size=1)
