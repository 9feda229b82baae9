"""Norms of gradients and updates: `train/grad_norm`, `train/update_norm`, `train/update_ratio`; and `train/lr`.

The ratio of update norm to parameter norm is about 1e-3 in a healthy run. A growing gradient norm indicates divergence
earlier than the loss. Parameters are copied only at logged steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from genmods.callbacks.intervals import is_log_step


def total_norm(tensors: Sequence[Tensor]) -> Tensor:
    """The global L2 norm of tensors of any shape, a float32 scalar."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm([t.float() for t in tensors])))


class Norms(Callback):
    """Logs the gradient norm before clipping, the learning rate, and the norm of the update."""

    def __init__(self) -> None:
        self._before: list[Tensor] | None = None

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        if not is_log_step(trainer):
            return
        pl_module.log("train/lr", float(optimizer.param_groups[0]["lr"]))
        trained = [p for p in pl_module.parameters() if p.grad is not None]
        if trained:
            pl_module.log("train/grad_norm", total_norm([p.grad for p in trained if p.grad is not None]))
            self._trained, self._before = trained, [p.detach().clone() for p in trained]

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if self._before is None:
            return
        after = [p.detach() for p in self._trained]
        update = total_norm(torch._foreach_sub(after, self._before))
        pl_module.log("train/update_norm", update)
        pl_module.log("train/update_ratio", update / total_norm(self._before).clamp(min=1e-12))
        self._before = None
