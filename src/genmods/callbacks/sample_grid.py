"""Samples after a validation, from EMA weights and from the raw weights.

Seeds and classes are always the same, so that a series of grids shows how the same images develop. Sampling is
distributed over the ranks; image i depends only on (seed, i), not on the rank.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from genmods.callbacks.ema import find_ema
from genmods.callbacks.intervals import Periodic
from genmods.callbacks.requirement import Requiring
from genmods.callbacks.stopping import looking
from genmods.callbacks.weights import evaluation_weights
from genmods.core.settings import Count, Seed
from genmods.models import Conditional, UsesSampler, model_of
from genmods.networks.base import outermost_networks
from genmods.tracking.base import logbook
from genmods.visual.picture import to_picture


def sample_shared(trainer: Trainer, module: LightningModule, n: int, seed: int) -> Tensor:
    """`n` samples [n, C, H, W] of the model that `module` trains, on every rank, generated in parts by all ranks."""
    model = model_of(module)
    if trainer.world_size == 1:
        return model.sample(n, seed=seed, progress=looking(trainer))
    share = -(-n // trainer.world_size)
    first = trainer.global_rank * share
    part: Any = module.all_gather(model.sample(share, seed=seed, first=first))
    return part.flatten(0, 1)[:n]


def count_network_calls(model: Any) -> int:
    """Number of network calls per sample (NFE), counted while one sample is generated; at least 1."""
    calls: list[None] = []
    networks = outermost_networks(model)
    handles = [network.register_forward_pre_hook(lambda *_: calls.append(None)) for network in networks]
    try:
        model.sample(1)
    finally:
        for handle in handles:
            handle.remove()
    return max(1, len(calls))


def sample_table(model: Any, images: Tensor, step: int, seed: int, shown: int = 64) -> tuple[str, list[str], list[Any]]:
    """The first `shown` samples `images` [n, C, H, W] as a table for the loggers: its key, columns and rows."""
    method = type(model.default_sampler() if isinstance(model, UsesSampler) else model).__name__
    calls, count = count_network_calls(model), min(shown, len(images))
    conditions = default_conditions(model, count) or [""] * count
    rows = [
        [step, seed, i, condition, method, calls, to_picture(image[None], 1)]
        for i, (condition, image) in enumerate(zip(conditions, images[:count], strict=True))
    ]
    return "samples/table", ["step", "seed", "number", "condition", "sampler", "NFE", "image"], rows


def default_conditions(model: Any, n: int) -> list[str]:
    """The default conditions of samples 0 to `n` - 1 of a model as text; empty for an unconditional model."""
    if not isinstance(model, Conditional):
        return []
    conditioning = model.conditioned_on()
    return conditioning.describe(conditioning.default(torch.arange(n)))


class SampleGrid(Requiring, Periodic):
    """Generates `n` samples at each `every`-th validation, for `samples/step_STEP.png` and the loggers.

    With `raw`, samples from the raw weights are also drawn if there is an EMA. Raises UserError for a task that is not
    generative.
    """

    requires = "sample"

    def __init__(
        self, n: Count = 64, seed: Seed = 0, every: Count = 1, raw: bool = True, columns: Count | None = None
    ) -> None:
        super().__init__(every)
        self.n, self.seed, self.raw = n, seed, raw
        self.columns = columns or round(n**0.5)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.due(trainer):
            return
        self._draw(trainer, pl_module, "grid", averaged=True)
        if self.raw and find_ema(trainer) is not None:
            self._draw(trainer, pl_module, "raw", averaged=False)

    def _draw(self, trainer: Trainer, module: LightningModule, series: str, averaged: bool) -> None:
        with evaluation_weights(trainer, module, averaged):
            images = sample_shared(trainer, module, self.n, self.seed)
        if trainer.is_global_zero:
            data = trainer.datamodule  # type: ignore[attr-defined]
            logbook(trainer).picture(series, to_picture(data.show(images), self.columns))
