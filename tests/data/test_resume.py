"""A run interrupted anywhere and resumed sees exactly the batches that the uninterrupted run sees."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from genmods.core.errors import UserError
from genmods.data.module import ImageData
from genmods.data.sources.synthetic import Synthetic

BATCHES, EPOCHS = 5, 3


class Toy(LightningModule):
    """Records the sample indices of every batch it completes, and fails in the step after `fail_after` of them."""

    def __init__(self, fail_after: int = -1):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.fail_after = fail_after
        self.seen: list[tuple[int, ...]] = []

    def training_step(self, batch, batch_idx):
        if len(self.seen) == self.fail_after:
            raise KeyboardInterrupt
        self.seen.append(tuple(batch["index"].tolist()))
        return (self.weight * batch["image"].mean()).square()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Save(Callback):
    """Saves a checkpoint at a hook once so many batches are completed, and stops the run as a kill would."""

    def __init__(self, hook: str, after: int, path: Path):
        self.hook, self.after, self.path = hook, after, path
        setattr(self, hook, self.maybe)

    def maybe(self, trainer, module, *_):
        if len(module.seen) == self.after and not trainer.sanity_checking:
            trainer.save_checkpoint(self.path)
            if self.hook != "on_exception":
                raise KeyboardInterrupt


def fit(module: Toy, save: Save | None = None, ckpt: Path | None = None, workers: int = 0, batch_size: int = 10,
        max_epochs: int = EPOCHS, max_steps: int = -1, interval: float = 1.0) -> list[tuple[int, ...]]:  # fmt: skip
    data = ImageData(Synthetic(60, 8, side=4), batch_size, val_fraction=0.1, num_workers=workers, seed=3)
    trainer = Trainer(
        accelerator="cpu", max_epochs=max_epochs, max_steps=max_steps, val_check_interval=interval, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=1,
        callbacks=[save] if save else None,
    )  # fmt: skip
    try:
        trainer.fit(module, data, ckpt_path=ckpt, weights_only=True)
    except SystemExit:  # what Lightning makes of a KeyboardInterrupt
        assert save
    return module.seen


@pytest.fixture(scope="module")
def uninterrupted() -> list[tuple[int, ...]]:
    seen = fit(Toy())
    assert len(seen) == BATCHES * EPOCHS and len(set(seen)) == len(seen)
    return seen


PLACES = [
    ("on_train_batch_start", 7), ("on_train_batch_end", 2), ("on_train_batch_end", 5), ("on_train_batch_end", 7),
    ("on_train_batch_end", 10), ("on_validation_start", 5), ("on_validation_end", 5), ("on_validation_end", 10),
    ("on_train_epoch_end", 5), ("on_train_epoch_end", 10),
]  # fmt: skip


@pytest.mark.parametrize("hook, after", PLACES)
def test_a_run_saved_at_any_hook_continues(hook, after, uninterrupted, tmp_path):
    save = Save(hook, after, tmp_path / "x.ckpt")
    assert fit(Toy(), save) == uninterrupted[:after]
    assert fit(Toy(), ckpt=save.path) == uninterrupted[after:]


@pytest.mark.parametrize("after", [1, 5, 8])
def test_a_batch_that_was_fetched_but_not_completed_is_not_skipped(after, uninterrupted, tmp_path):
    save = Save("on_exception", after, tmp_path / "x.ckpt")
    assert fit(Toy(fail_after=after), save) == uninterrupted[:after]
    assert fit(Toy(), ckpt=save.path) == uninterrupted[after:]


@pytest.mark.parametrize("after", [2, 4, 7])
def test_validation_in_mid_epoch(after, uninterrupted, tmp_path):
    save = Save("on_validation_end", after, tmp_path / "x.ckpt")
    assert fit(Toy(), save, interval=0.4) == uninterrupted[:after]
    assert fit(Toy(), ckpt=save.path, interval=0.4) == uninterrupted[after:]


@pytest.mark.parametrize("after", [3, 5])
def test_number_of_workers_may_change(after, uninterrupted, tmp_path):
    save = Save("on_train_batch_end", after, tmp_path / "x.ckpt")
    assert fit(Toy(), save, workers=2) == uninterrupted[:after]
    assert fit(Toy(), ckpt=save.path, workers=2) == uninterrupted[after:]


@pytest.mark.parametrize("hook", ["on_train_end", "on_validation_end"])
def test_workers_end_with_their_run(hook, tmp_path):
    fit(Toy(), Save(hook, BATCHES, tmp_path / "x.ckpt"), workers=2, max_epochs=1)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_validation_end", "on_train_epoch_end", "on_train_end"])
@pytest.mark.parametrize("steps", [5, 7])
def test_a_run_that_ended_continues_with_more_steps(hook, steps, uninterrupted, tmp_path):
    save = Save(hook, steps, tmp_path / "x.ckpt")
    assert fit(Toy(), save, max_steps=steps, max_epochs=-1) == uninterrupted[:steps]
    if save.path.exists():
        assert fit(Toy(), ckpt=save.path, max_steps=13, max_epochs=-1) == uninterrupted[steps:13]


@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_train_epoch_end"])
def test_another_batch_size_is_refused(hook, tmp_path):
    save = Save(hook, 5, tmp_path / "x.ckpt")
    fit(Toy(), save)
    with pytest.raises(UserError, match=r"data\.batch_size must be 10"):
        fit(Toy(), ckpt=save.path, batch_size=20)
