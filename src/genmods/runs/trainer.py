"""Creates the Trainer, so that all runs have the same checkpoints, checks and reproducibility."""

from __future__ import annotations

import logging
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from genmods.callbacks.checkpoint import AtomicCheckpointIO, RunCheckpoint
from genmods.callbacks.early_stopping import EarlyStopping
from genmods.callbacks.ema import EMA
from genmods.callbacks.finite import Finite
from genmods.callbacks.finite_checkpoint import FiniteCheckpoint
from genmods.callbacks.norms import Norms
from genmods.callbacks.precision import SamePrecision, unsettled
from genmods.callbacks.progress import TrainingProgress
from genmods.callbacks.report import Report
from genmods.callbacks.stopping import StopOnRequest, StopSignals
from genmods.callbacks.throughput import Throughput
from genmods.config import registry
from genmods.core.errors import UserError, first_line
from genmods.core.lightning_internals import without_external_callbacks
from genmods.runs.step_loop import StepLoop
from genmods.tasks.base import Task

FIXED: dict[str, Any] = {"use_distributed_sampler": False, "inference_mode": False}
"""Settings that a recipe cannot change: the loader distributes samples, likelihoods need gradients."""


def make_trainer(
    folder: Path,
    task: Task,
    settings: dict[str, Any],
    callbacks: list[Callback],
    loggers: list[Logger],
    signals: StopSignals | None = None,
) -> Trainer:
    """A Trainer that writes to the run folder `folder`.

    It always has the check of finite numbers, throughput, norms, a progress bar and the task's reports. The check is
    the first callback, then comes EMA, so that the others use its update, then early stopping, so that they know which
    validation is the last; checkpoints come last. The precision `auto` is float32 until `callbacks.precision.settle`.
    `max_time` is the time limit of this process, whose `signals` stop a fit cleanly.
    """
    _silence()
    checkpoint = next((callback for callback in callbacks if isinstance(callback, RunCheckpoint)), RunCheckpoint())
    callbacks = [*callbacks, *_standard(callbacks, settings, task.reports)]
    first = [callback for kind in (Finite, EMA, EarlyStopping) for callback in callbacks if isinstance(callback, kind)]
    others = [callback for callback in callbacks if callback not in first and not isinstance(callback, RunCheckpoint)]
    registry.report_external_callbacks()
    with refusals_in_one_line(), without_external_callbacks():
        seconds = Timer(settings.get("max_time")).time_remaining()
        stop = StopOnRequest(signals or StopSignals(), checkpoint, seconds)
        replaced = {"max_time": None, "precision": unsettled(settings["precision"])}
        trainer = Trainer(
            **{**settings, **FIXED, **_in_steps(settings), **replaced},
            default_root_dir=folder,
            logger=loggers or False,
            callbacks=[*first, *others, FiniteCheckpoint(), SamePrecision(), stop, checkpoint],
            plugins=[AtomicCheckpointIO(), *_environment()],
        )
    StepLoop.install(trainer)
    return trainer


def _in_steps(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that make `val_check_interval: N` count the steps of the run instead of those of each epoch."""
    every, epochs = settings.get("val_check_interval"), settings.get("check_val_every_n_epoch", 1)
    return {"check_val_every_n_epoch": None} if isinstance(every, int) and epochs == 1 else {}


def _environment() -> list[SLURMEnvironment]:
    """SLURM without Lightning's requeueing, whose checkpoints are never resumed."""
    return [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []


@contextmanager
def refusals_in_one_line() -> Iterator[None]:
    """Context that converts Lightning's errors about Trainer settings to UserErrors of one line."""
    try:
        yield
    except (MisconfigurationException, ImportError, ValueError) as error:
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        if not frame.f_globals["__name__"].startswith("lightning."):
            raise
        raise UserError(f"trainer: {' '.join(str(error).split())}") from error


@contextmanager
def restoring(checkpoint: Path | None) -> Iterator[None]:
    """Context of a fit that names its `checkpoint` if Lightning cannot restore the states of training in it."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        names = {frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)}
        if isinstance(error, UserError) or not names & {"_restore_modules_and_callbacks", "restore_training_state"}:
            raise
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"{checkpoint}: its states of training cannot be restored ({reason})") from error


def _standard(given: list[Callback], settings: dict[str, Any], reports: Sequence[str]) -> list[Callback]:
    """The callbacks of all runs and the `reports` of the task, except those that the recipe lists."""
    kinds: list[type[Callback]] = [Finite, Throughput, Norms, Report]
    kinds += [registry.resolve(registry.find("callback", name)) for name in reports]
    if settings.get("enable_progress_bar") is not False:
        kinds.append(TrainingProgress)
    return [kind() for kind in kinds if not any(isinstance(callback, kind) for callback in given)]


class _Advice(logging.Filter):
    """Filters Lightning's start-up and shutdown tips, and lines that genmods prints itself."""

    _TEXTS = (
        "GPU available",
        "TPU available",
        "HPU available",
        "💡 Tip",
        "`weights_only` was not set",
        "`Trainer.fit` sto",
        "Loading `train_dataloader`",
        "Using bfloat16 Automatic Mixed Precision",
        "Restoring states from",
        "Restored all states from",
    )

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(self._TEXTS)


def _silence() -> None:
    """Filter Lightning's warnings that do not apply.

    Batches need no workers, the log interval may exceed an epoch, logged values are already means over all ranks, and
    frozen layers stay in eval mode.
    """
    told_by_us = "Total length of `list` across ranks is zero"  # no validation images: in the summary of the data
    idle = ("does not have many workers", "smaller than the logging interval", "LeafSpec", "sync_dist=True")
    frozen = r"module\(s\) in eval mode at the start of training"
    for message in (*idle, frozen, told_by_us):
        warnings.filterwarnings("ignore", f".*{message}.*")
    for name in ("utilities.rank_zero", "trainer.connectors.checkpoint_connector"):
        logger = logging.getLogger(f"lightning.pytorch.{name}")
        if not any(isinstance(known, _Advice) for known in logger.filters):
            logger.addFilter(_Advice())
