"""What callbacks that look at a model share: when to look, and the weights to look with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from genmods.callbacks.ema import find_ema
from genmods.core.errors import UserError
from genmods.core.lightning_internals import logged_step
from genmods.models import Generates
from genmods.networks.base import evaluating


def is_validating_a_fit(trainer: Trainer) -> bool:
    """Whether this validation belongs to a fit and is no sanity check."""
    return trainer.state.fn == "fit" and not trainer.sanity_checking


def is_log_step(trainer: Trainer) -> bool:
    """Whether Lightning writes a row after the present training batch."""
    interval: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return (logged_step(trainer) + 1) % interval == 0


def require_samples(callback: str, module: LightningModule) -> None:
    """Raises UserError where `module` is no task that generates images, which `callback` needs."""
    if not isinstance(module, Generates):
        raise UserError(f"the callback {callback} requires a generative task, got {type(module).__name__}")


class LastResult(Callback):
    """Keeps the result of the last evaluation."""

    result: object | None = None

    def on_evaluation_result(self, trainer: Trainer, stage: str, result: object) -> None:
        self.result = result


class Every:
    """Counts the validations of a fit and picks each `n`-th, the first included."""

    def __init__(self, n: int) -> None:
        if n < 1:
            raise ValueError(f"every must be at least 1, not {n}")
        self.n, self.count = n, 0

    def due(self, trainer: Trainer) -> bool:
        """Whether this validation is one of them; called once in each."""
        if not is_validating_a_fit(trainer):
            return False
        self.count += 1
        return (self.count - 1) % self.n == 0


@contextmanager
def judged(trainer: Trainer, module: LightningModule, averaged: bool = True) -> Iterator[None]:
    """Within the block `module` is in evaluation mode with its EMA weights (or the raw ones) and needs no gradient.

    The generators are put back afterwards, so that looking changes nothing in the training.
    """
    ema = find_ema(trainer)
    weights = nullcontext() if ema is None else ema.weights(module, averaged)
    devices = [module.device] if module.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.no_grad(), evaluating(module), weights:
        yield
