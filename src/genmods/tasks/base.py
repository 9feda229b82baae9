"""The base of all tasks: an optimizer over parameter groups, a schedule per step, and stateless randomness.

A task trains a model that can be used without it (`genmods.models`), and has the settings of both.

Before each batch the random number generators are seeded from (seed, rank, number of batches), so that dropout, times
and noise of a batch do not depend on whether the run was interrupted and resumed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from genmods.core import random
from genmods.core.batch import INDEX, INPUT, Batch, Share
from genmods.core.errors import UserError
from genmods.core.label_kinds import LabelKind
from genmods.core.lightning_internals import batches_done
from genmods.models import Model, Predicts, ReceivesResults, model_of
from genmods.networks.base import outermost_networks
from genmods.optim.groups import made, parameter_groups
from genmods.optim.plateau import ReduceOnPlateau
from genmods.tracking.monitor import Monitor, require_validation

_log = logging.getLogger(__name__)
_TRIED = 1_000_000
"""The number of steps used for the schedule of a `fast_dev_run`, so that every warm-up is valid."""
_ADAMW = partial(AdamW, lr=1e-3)


@dataclass(frozen=True)
class FitPlan:
    """How a task is trained.

    Args:
        optimizer: Called as `optimizer(groups)`.
        schedule: Called as `schedule(optimizer, total_steps)`; None for a constant learning rate.
        seed: Random seed of training and validation.
        previous_optimizer: `optimizer` of the checkpoint from which a run resumes. Settings that differ from it
            override the restored ones.
    """

    optimizer: Callable[..., Optimizer] = _ADAMW
    schedule: Callable[..., LRScheduler] | None = None
    seed: int = 0
    previous_optimizer: Callable[..., Optimizer] | None = None


_PLAN = FitPlan()


class Task(LightningModule, Model):
    """How a model is trained and evaluated: the registry kind `task`.

    The constructor's parameter `model: MyModel`, with a subclass of `Model`, is the model; a recipe sets the settings
    of both in one section. A task without this parameter is its own model.

    A batch is a dictionary with `image` (float [B, C, H, W] in [-1, 1]), `label` (int64 [B], or float targets) and
    `index` (int64 [B]).

    Args:
        plan: Optimizer, schedule and seed.
    """

    monitor: Monitor | None = None
    """The metric that selects `best.ckpt`; with None, only `last.ckpt` is written."""
    label_kinds: tuple[LabelKind, ...] = ()
    """The kinds of labels that the task supports; () for any or none."""
    left_out: frozenset[str] = frozenset()
    """Metrics reported as not computable in this evaluation."""
    trainable: bool = True
    """Whether there is anything to train; otherwise the task is validated and tested without a checkpoint."""
    share: Share | None = None
    """The part of the global batch that this rank processes; None between batches."""
    noise_errors: bool | None = None
    """True if `training_step` returns `error` [B] and `log_snr` [B] per sample, for the callback `loss_by_noise`."""
    reports: tuple[str, ...] = ()
    """Registered callbacks that are added to each run of the task unless its recipe lists them."""

    def __init__(self, plan: FitPlan = _PLAN) -> None:
        super().__init__()
        self.plan = plan
        self._means: dict[str, Tensor] = {}

    @property
    def double_backward(self) -> tuple[nn.Module, ...]:
        """Networks that need double backward, which `torch.compile` does not support."""
        return ()

    def configure_optimizers(self) -> Any:
        optimizer = made(self.plan.optimizer, self.groups())
        if self.plan.schedule is None:
            return optimizer
        total = self.steps_of("schedule")
        if total < 1:
            raise UserError("schedule: no training steps, check trainer.max_steps and trainer.limit_train_batches")
        if self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            total = max(total, _TRIED)
        try:
            schedule = self.plan.schedule(optimizer, total)
        except ValueError as error:
            raise UserError(f"schedule: {error}") from error
        config: dict[str, Any] = {"scheduler": schedule, "interval": "step"}
        if isinstance(schedule, ReduceOnPlateau):
            require_validation(self.trainer, "schedule", schedule.monitor)
            config |= {"monitor": schedule.monitor, "reduce_on_plateau": True}
        return {"optimizer": optimizer, "lr_scheduler": config}

    def steps_of(self, part: str) -> int:
        """The number of steps of the training, which `part` requires; raises UserError if it has no end."""
        total = self.trainer.estimated_stepping_batches
        if total == float("inf"):
            raise UserError(f"{part}: requires trainer.max_steps or trainer.max_epochs")
        return int(total)

    @property
    def lr(self) -> float:
        """The base learning rate of the plan, which Lightning's `Tuner.lr_find` reads and sets."""
        return float(self.plan.optimizer(self.groups()).defaults["lr"])

    @lr.setter
    def lr(self, value: float) -> None:
        """Set the base learning rate of the plan."""
        self.plan = replace(self.plan, optimizer=partial(self.plan.optimizer, lr=value))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.plan.previous_optimizer is None:
            return
        (state,) = checkpoint["optimizer_states"]
        makers = (self.plan.previous_optimizer, self.plan.optimizer)
        before, now = (made(make, self.groups()).param_groups for make in makers)
        for saved, old, new in zip(state["param_groups"], before, now, strict=True):
            saved.update({key: new[key] for key in new if key != "params" and new[key] != old.get(key)})
            if self.plan.schedule is None:
                saved["lr"] = new["lr"]

    def groups(self) -> list[dict[str, Any]]:
        """The parameter groups of the optimizer; the output layer is determined per network."""
        return parameter_groups(*self.children(), self)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        self._seed_batch(batches_done(self.trainer))
        for network in outermost_networks(self):
            network.before_step()

    def on_validation_batch_start(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._seed_batch(batch_idx)

    def _seed_batch(self, number: int) -> None:
        rank, world = self.trainer.global_rank, self.trainer.world_size
        torch.manual_seed(int(random.fold(self.plan.seed, rank, number)))
        self.share = Share(int(random.fold(self.plan.seed, number)), rank, world)

    on_test_batch_start = on_validation_batch_start

    def fit_statistics(self, batch: Batch) -> None:
        model = model_of(self)
        if model is not self:
            model.fit_statistics(batch)

    def evaluation_step(self, batch: Batch, stage: str) -> Any:
        """Evaluate a batch: log metrics as `stage/NAME`, where `stage` is "val" or "test".

        The return value is passed to the callbacks' `on_validation_batch_end` or `on_test_batch_end`.
        """

    def evaluation_result(self, stage: str) -> object | None:
        """The result of an evaluation for `ReceivesResults` callbacks; None for logged metrics only."""
        return None

    def validation_step(self, batch: Batch, batch_idx: int) -> Any:
        return self.evaluation_step(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> Any:
        return self.evaluation_step(batch, "test")

    def on_validation_epoch_end(self) -> None:
        self._publish("val")

    def on_test_epoch_end(self) -> None:
        self._publish("test")

    def _publish(self, stage: str) -> None:
        result = self.evaluation_result(stage)
        for callback in self.trainer.callbacks if result is not None else ():  # type: ignore[attr-defined]
            if isinstance(callback, ReceivesResults):
                callback.on_evaluation_result(self.trainer, stage, result)

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """The indices of the samples and their predictions. Raises UserError if the model does not predict."""
        model = model_of(self)
        if not isinstance(model, Predicts):
            raise UserError(f"predict: a {type(model).__name__} does not predict labels")
        return {INDEX: batch[INDEX], "predictions": model.predictions(batch[INPUT])}

    def log_known(self, name: str, value: Tensor, needs: str = "", progress: bool = False) -> None:
        """Logs a metric of a whole evaluation; if it is not finite, warns of what it `needs` instead."""
        if torch.isfinite(value):
            self.log(name, value.float(), prog_bar=progress)
            return
        if name not in self.left_out and self.trainer.is_global_zero:
            _log.warning("%s is not logged: %s", name, needs or "it is not finite")
        self.left_out = self.left_out | {name}

    def log_mean(self, name: str, value: Tensor, batch: Batch, progress: bool = False) -> None:
        """Logs the mean over an evaluation, weighted by batch size, of all ranks; in training, over a step."""
        training = name.startswith("train/")
        if training:
            value = self._over_step(name, value.detach())
        self.log(
            name,
            value,
            batch_size=len(batch[INPUT]),
            prog_bar=progress,
            on_step=training,
            on_epoch=not training,
            sync_dist=not training,
        )

    def _over_step(self, name: str, value: Tensor) -> Tensor:
        """The mean of a training value over the batches of this step so far."""
        group = 1 if self._trainer is None else self.trainer.accumulate_grad_batches
        if group == 1:
            return value
        before = batches_done(self.trainer) % group
        self._means[name] = (self._means[name] * before + value) / (before + 1) if before else value
        return self._means[name]
