"""Milliseconds that Lightning adds to a training step: its Trainer against a bare loop on the same batches and task.

Both load, move and augment the batch, and do forward, backward, clipping, optimizer and schedule. The Trainer has no
logger and no callback but the stopwatch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from common import bare_trainer, synchronise
from lightning.pytorch import Callback
from torch import Tensor

from genmods.data.augmentation.sequence import augmented
from genmods.data.module import ImageData
from genmods.runs.fit import build_data, build_task
from gpu_sections import data
from gpu_sections.job import Figures, Job

RECIPES = ("ddpm", "cnn")


def rows(job: Job) -> dict[str, Callable[[], Figures]]:
    found = {}
    for recipe in RECIPES:
        found[f"{recipe}: bare loop"] = partial(bare, job, recipe)
        found[f"{recipe}: Lightning"] = partial(lightning, job, recipe)
    return found


class Stopwatch(Callback):
    """Seconds per step from step `first` to step `last`, with one wait for the device at either end."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last, self.seconds = first, last, 0.0

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.first:
            synchronise()
            self.start = time.perf_counter()

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.last:
            synchronise()
            self.seconds = (time.perf_counter() - self.start) / (self.last - self.first)


def span(job: Job) -> tuple[int, int]:
    """The first step that counts and the last."""
    return job.size((50, 350), (1, 3))


def resolved(job: Job, name: str) -> Any:
    """A recipe for as many steps as are timed."""
    return data.recipe(job, name, f"--trainer.max_steps={span(job)[1]}", "--trainer.max_epochs=-1")


def lightning(job: Job, name: str) -> Figures:
    recipe, watch = resolved(job, name), Stopwatch(*span(job))
    images = build_data(recipe)
    task = build_task(recipe, images.info)
    bare_trainer(task, recipe.trainer.given, watch).fit(task, images)
    ms, loop = 1e3 * watch.seconds, job.figure("overhead", f"{name}: bare loop", "ms")
    added = {"added ms": round(ms - loop, 3), "added percent": round(100 * (ms / loop - 1), 1)} if loop else {}
    return {"batch": images.batch_size, "ms": round(ms, 3), **added}


def bare(job: Job, name: str) -> Figures:
    recipe, (first, last) = resolved(job, name), span(job)
    images = build_data(recipe)
    task: Any = build_task(recipe, images.info).to(job.device).train()
    task.log_mean = lambda *_, **__: None
    optimizer = task.plan.optimizer(task.groups())
    schedule = task.plan.schedule(optimizer, last)
    limit, reduced = recipe.trainer.given.get("gradient_clip_val"), job.device == "cuda"
    for number, batch in enumerate(batches(images, job.device, last)):
        if number == first:
            synchronise()
            start = time.perf_counter()
        with torch.autocast(job.device, torch.bfloat16, enabled=reduced):
            output = task.training_step(batch, number)
        optimizer.zero_grad()
        (output["loss"] if isinstance(output, dict) else output).backward()
        if limit:
            torch.nn.utils.clip_grad_norm_(task.parameters(), limit)
        optimizer.step()
        schedule.step()
    synchronise()
    ms = 1e3 * (time.perf_counter() - start) / (last - first)
    return {"batch": images.batch_size, "ms": round(ms, 3)}


def batches(images: ImageData, device: str, count: int) -> Iterator[dict[str, Tensor]]:
    """`count` augmented training batches on `device`, epoch after epoch."""
    done = 0
    while done < count:
        for batch in images.train_dataloader():
            if done == count:
                return
            moved = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
            yield augmented(moved, images.augment, len(images.class_names), images.source.levels)
            done += 1
