"""Samples of fixed seeds after a validation, from EMA weights and from the raw ones beside them.

The same seeds and classes every time, so that a series of grids shows one set of images grow. The work is shared out
over the ranks: image i depends on (seed, i) alone, whoever makes it.
"""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from genmods.callbacks.ema import find_ema
from genmods.callbacks.shared import Every, judged, require_samples
from genmods.tasks.diffusion import DiffusionTask
from genmods.tracking.base import logbook
from genmods.visual.picture import to_picture


def sample_shared(trainer: Trainer, task: Any, n: int, seed: int) -> Tensor:
    """`n` samples [n, C, H, W] of the task, on every rank, made in parts by all ranks."""
    if trainer.world_size == 1:
        return task.sample(n, seed=seed)
    share = -(-n // trainer.world_size)
    first = trainer.global_rank * share
    part = task.sample(share, seed=seed, first=first)
    return task.all_gather(part).flatten(0, 1)[:n]


def evaluations(task: Any) -> int:
    """How often a diffusion task calls its network for a sample (NFE), counted; 1 for other tasks."""
    if not isinstance(task, DiffusionTask):
        return 1
    calls: list[None] = []
    handle = task.denoiser.network.register_forward_pre_hook(lambda *_: calls.append(None))
    try:
        task.sample(1)
    finally:
        handle.remove()
    return len(calls)


def sample_table(task: Any, images: Tensor, step: int, seed: int, shown: int = 64) -> tuple[str, list[str], list[Any]]:
    """The first of the samples `images` [n, C, H, W] as a table for the loggers: its key, columns and rows."""
    names = task.class_names if task.labelled else []
    method = type(task.sampler if isinstance(task, DiffusionTask) else task).__name__
    calls = evaluations(task)
    rows = [
        [step, seed, i, names[i % len(names)] if names else "", method, calls, to_picture(image[None], 1)]
        for i, image in enumerate(images[:shown])
    ]
    return "samples/table", ["step", "seed", "number", "class", "sampler", "NFE", "image"], rows


class SampleGrid(Callback):
    """Draws `n` samples of `seed` at each `every`-th validation, into `samples/step_STEP.png` and the loggers.

    `raw` draws them from the raw weights too, where there is an EMA. Raises UserError for a task that cannot sample.
    """

    def __init__(
        self, n: int = 64, seed: int = 0, every: int = 1, raw: bool = True, columns: int | None = None
    ) -> None:
        if n < 1:
            raise ValueError(f"n must be at least 1, not {n}")
        self.n, self.seed, self.raw = n, seed, raw
        self.columns = columns or round(n**0.5)
        self.every = Every(every)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        require_samples("sample_grid", pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.every.due(trainer):
            return
        self._draw(trainer, pl_module, "grid", averaged=True)
        if self.raw and find_ema(trainer) is not None:
            self._draw(trainer, pl_module, "raw", averaged=False)

    def _draw(self, trainer: Trainer, module: LightningModule, series: str, averaged: bool) -> None:
        with judged(trainer, module, averaged):
            images = sample_shared(trainer, module, self.n, self.seed)
        if trainer.is_global_zero:
            logbook(trainer).picture(series, to_picture(images, self.columns))
