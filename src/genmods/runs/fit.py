"""Training: the recipe is resolved, objects are built, then the model is trained."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch.nn.modules.batchnorm import _BatchNorm

from genmods.callbacks.contents import RunContents
from genmods.callbacks.ema import find_ema
from genmods.callbacks.precision import settle
from genmods.callbacks.stopping import Stopped, StopSignals, out_of_time
from genmods.config import registry
from genmods.config.build import build
from genmods.config.labels import refuse
from genmods.config.parts import From, Part
from genmods.config.recipe import Recipe
from genmods.config.text import RecipeError
from genmods.core.errors import UserError
from genmods.core.initial_weights import without_weights
from genmods.core.lightning_internals import signals_untouched
from genmods.core.locking import owned
from genmods.core.plain import check_finite
from genmods.core.printable import counted, say
from genmods.data.base import DataModule
from genmods.data.info import DataInfo
from genmods.networks.base import outermost_networks
from genmods.runs.batch_size import automatic, batch_size_of, explain_out_of_memory
from genmods.runs.calibration import calibrate
from genmods.runs.checkpoint import Checkpoint
from genmods.runs.folders import Place, last_logged, place, refuse_links, requeued, status, write_status
from genmods.runs.loggers import build_loggers, running
from genmods.runs.resuming import check_meaning, report_differences
from genmods.runs.reuse import resolve
from genmods.runs.trainer import make_trainer, refusals_in_one_line, restoring
from genmods.tasks.base import FitPlan, Task


def fit(recipe: Recipe, ckpt_path: str | None = None, quiet: bool = False, handle_signals: bool = True) -> Path:
    """Trains a recipe, or continues a run of it at `ckpt_path`; returns the run folder.

    Args:
        recipe: A checked recipe.
        ckpt_path: A checkpoint file, a run folder, "last" for the newest run of the recipe, or "auto" for the newest
            run if there is one, otherwise a new run. None starts a new run, or resumes that of a requeued SLURM job.
        quiet: Whether to suppress the progress bar and all lines except warnings.
        handle_signals: Whether signals stop the run cleanly; False leaves the handlers of the program as they are.

    Raises:
        Stopped: If a signal stopped the run; only in the main thread.
    """
    with StopSignals(handle_signals) as signals:
        if not is_trained(recipe):
            raise UserError(f"{recipe.source}: nothing to train; evaluate it with `genmods test`")
        ckpt_path = ckpt_path or requeued(recipe.name, recipe.to_yaml())
        with place(recipe.name, ckpt_path, prefer="last") as at, alone(at.folder):
            before = Checkpoint.read(at.checkpoint) if at.checkpoint else None
            with where_it_stopped(at.folder, before.step if before else 0):
                _train(recipe, at, before, signals, quiet)
    return at.folder


def _train(recipe: Recipe, at: Place, before: Checkpoint | None, signals: StopSignals, quiet: bool) -> None:
    resolved = resolve(recipe, before)
    data = build_data(resolved)
    _refuse_labels(data, resolved)
    task = build_task(resolved, data.info, before)
    callbacks = [build(part, data.info.settings()) for part in resolved.callbacks]
    loggers = build_loggers(recipe, before)
    settings = recipe.trainer.given | ({"enable_progress_bar": False} if quiet else {})
    if recipe.data.given.get("batch_size") == "auto":
        data.batch_size = batch_size_of(before) or automatic(
            task, data, make_trainer(at.folder, task, settings, callbacks, [])
        )
        resolved.data = replace(resolved.data, given=resolved.data.given | {"batch_size": data.batch_size})
    contents = _contents(recipe, resolved, data, loggers)
    trainer = make_trainer(at.folder, task, settings, [*callbacks, contents], loggers, signals)
    warn_of_imbalance(resolved, data)
    warn_of_batch_norm(task, trainer.accumulate_grad_batches, data.batch_size)
    if before is None:
        task.fit_statistics(data.examples())
    else:
        _check_continued(at.checkpoint, before, task, data, trainer)
        check_meaning(resolved, before)
    settle(trainer, task, settings["precision"], before.precision if before else None, quiet)
    if before is not None:
        rank_zero_only(report_differences)(resolved, before, at.folder, str(trainer.precision))
    if before is not None and not quiet:
        rank_zero_only(say)(f"{at.checkpoint}: resumed at step {before.step}", file=sys.stderr)
    for line in data.missing() if quiet else [*data.summary(), *data.left_over(trainer.world_size)]:
        rank_zero_only(say)(line, file=sys.stderr)
    with running(at.folder, recipe, loggers, data, before, trainer.precision):
        write_status(at.folder, "running", before.step if before else 0)
        untouched = nullcontext() if signals.active else signals_untouched(trainer)
        with refusals_in_one_line(), restoring(at.checkpoint), explain_out_of_memory(task, data, trainer), untouched:
            trainer.fit(task, data, ckpt_path=at.checkpoint)
        warn_of_no_step(trainer, before.step if before else 0)
        write_status(at.folder, "out of time" if out_of_time(trainer) else "finished", trainer.global_step)
        calibrate(task, at.folder / "checkpoints", data, trainer)


@contextmanager
def where_it_stopped(folder: Path, step: int) -> Iterator[None]:
    """Context that adds the run `folder`, and the step from which it resumes, to `Stopped`."""
    try:
        yield
    except Stopped as stopped:
        if stopped.run is None and (folder / "checkpoints" / "last.ckpt").is_file():
            stopped.run, stopped.step = folder, step
        _note_end(folder, "stopped")
        raise
    except BaseException:
        _note_end(folder, "failed")
        raise


def _note_end(folder: Path, state: str) -> None:
    """Writes how a running run ended."""
    before, step = status(folder)
    if before == "running":
        with suppress(OSError):
            write_status(folder, state, step)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """A context in which this process, rank 0, owns the run folder; prints a line if the last process was killed."""
    if getattr(rank_zero_only, "rank", 0):
        yield
        return
    refuse_links(folder)
    with owned(folder):
        if status(folder)[0] == "running":
            say(f"{folder}: the last process was killed after step {last_logged(folder)}", file=sys.stderr)
        yield


@rank_zero_only
def warn_of_batch_norm(task: Task, batches: int, size: int) -> None:
    """Warn on stderr if gradient accumulation differs from a larger batch because of batch normalisation."""
    if batches > 1 and any(isinstance(module, _BatchNorm) for module in task.modules()):
        say(
            f"trainer.accumulate_grad_batches {batches}: batch normalisation uses batches of {counted(size, 'image')}, "
            f"not of {batches * size}",
            file=sys.stderr,
        )


@rank_zero_only
def warn_of_imbalance(recipe: Recipe, data: DataModule) -> None:
    """Warn on stderr if the largest class has over three times the images of the smallest, unless they are balanced."""
    counts = data.info.class_counts if data.info.label_kind == "class" else []
    weights = isinstance(recipe.task, Part) and "class_weights" in recipe.task.settings()
    is_balanced = recipe.data.given.get("sampling") == "balanced" or (
        weights and recipe.task.given.get("class_weights")
    )
    if is_balanced or not counts or max(counts) <= 3 * min(counts):
        return
    few, many = (f"{data.info.class_names[counts.index(count)]} {count:,}" for count in (min(counts), max(counts)))
    remedy = "task.class_weights: balanced or data.sampling: balanced" if weights else "data.sampling: balanced"
    say(f"the classes are unbalanced: {few}, {many} images; {remedy} gives all the same weight", file=sys.stderr)


@rank_zero_only
def warn_of_no_step(trainer: Trainer, start: int) -> None:
    """Prints a line on stderr if a fit took no step."""
    step, end = trainer.global_step, trainer.max_steps
    if step == start:
        why = f"trainer.max_steps is {end}" if step == end else "the end of training was reached before"
        say(f"nothing was trained: the run is at step {step}, {why}", file=sys.stderr)


def _refuse_labels(data: DataModule, recipe: Recipe) -> None:
    """Raises RecipeError if the task does not support the labels of the data."""
    if isinstance(recipe.task, Part):
        refuse(recipe, registry.resolve(recipe.task.entry).label_kinds, data.info.label_kind)  # type: ignore[attr-defined]


def is_trained(recipe: Recipe) -> bool:
    """Whether the recipe's task has anything to train."""
    return isinstance(recipe.task, From) or registry.resolve(recipe.task.entry).trainable  # type: ignore[attr-defined]


def build_data(recipe: Recipe) -> DataModule:
    """The data module of a recipe, with its order and augmentation from the recipe's seed."""
    data: DataModule = build(recipe.data)
    return data


def build_task(recipe: Recipe, info: DataInfo, before: Checkpoint | None = None) -> Task:
    """The task of a resolved recipe with its plan, initialised from the recipe's seed.

    Args:
        recipe: A recipe without `{from: RUN}`; see `resolve`.
        info: The properties of the data.
        before: The checkpoint from which the run resumes.

    Raises:
        RecipeError: If a part, or the optimizer, refuses its settings.
    """
    plan = FitPlan(
        optimizer=build(recipe.optimizer),
        schedule=build(recipe.schedule) if recipe.schedule else None,
        seed=recipe.seed,
        previous_optimizer=build(before.parsed("optimizer").optimizer) if before else None,
    )
    torch.manual_seed(recipe.seed)
    with without_weights() if before else nullcontext():
        task: Task = build(recipe.task, info.settings(), plan=plan)
    _tell_weights(task)
    if task.trainable:
        if not (groups := task.groups()):
            raise RecipeError(recipe.task.where, recipe.task.path, "has nothing to train: all weights are frozen")
        try:
            plan.optimizer(groups)  # refuse invalid settings before the run starts
        except (ValueError, RuntimeError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise RecipeError(recipe.optimizer.where, recipe.optimizer.path, reason) from error
    return task


@rank_zero_only
def _tell_weights(task: Task) -> None:
    """A line on stderr for each network with weights of a file."""
    for network in outermost_networks(task):
        if network.loaded:
            say(str(network.loaded), file=sys.stderr)


def _contents(recipe: Recipe, resolved: Recipe, data: DataModule, loggers: list[Logger]) -> Callback:
    """The metadata of each checkpoint, with a recipe that depends neither on earlier runs nor on free memory."""
    whole = resolved.plain()
    plain = recipe.plain() | {"task": whole["task"], "data": whole["data"]}
    run_ids = {str(logger.name): getattr(logger, "run_id", None) for logger in loggers}
    sizes = {name: len(rows) for name, rows in data.splits.items()}
    return RunContents(plain, data.info, data.hash, run_ids, sizes, data.preparation)


def _check_continued(path: Path | None, before: Checkpoint, task: Task, data: DataModule, trainer: Trainer) -> None:
    """Raises UserError if the run cannot be resumed like this, before anything of it is modified."""
    for name in ("loops", "optimizer_states", "lr_schedulers"):
        if name not in before.content:
            raise UserError(f"{path}: has no {name}, so that training cannot be resumed")
    try:
        for weights in (before.state_dict, before.averages):
            check_finite(task, weights)
        task.load_state_dict(before.state_dict)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    data.check_continued(before.content.get(type(data).__qualname__, {}), trainer.world_size)
    if ema := find_ema(trainer):
        ema.check_continued(before.content)
