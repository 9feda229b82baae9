"""Evaluation during training: evaluation mode, EMA weights, no side effects on the training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from lightning.pytorch import LightningModule, Trainer

from genmods.callbacks.ema import find_ema
from genmods.networks.base import evaluating


@contextmanager
def evaluation_weights(trainer: Trainer, module: LightningModule, averaged: bool = True) -> Iterator[None]:
    """Context in which `module` is in evaluation mode, without gradients, with its EMA weights.

    The states of the random number generators are restored on exit, so that training is not affected.

    Args:
        trainer: The trainer, whose EMA callback, if any, holds the averaged weights.
        module: The task.
        averaged: Whether to use the EMA weights; otherwise the raw ones.
    """
    ema = find_ema(trainer)
    weights = nullcontext() if ema is None else ema.weights(module, averaged)
    devices = [module.device] if module.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.no_grad(), evaluating(module), weights:
        yield
