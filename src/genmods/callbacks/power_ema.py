"""Snapshots of two moving averages of the weights, from which averages of other lengths are computed after training."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Gt, Le, MinLen
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor

from genmods.callbacks.ema import averaged_tensors
from genmods.core import safetensors
from genmods.core.devices import at_least_float32
from genmods.core.errors import UserError
from genmods.core.printable import say
from genmods.core.settings import Count, Validated
from genmods.optim.power_average import LONGEST, decay

FOLDER = "snapshots"
"""Subfolder of a run with a file `STEP.safetensors` per snapshot."""
Length = Annotated[float, Gt(0), Le(LONGEST)]
"""Standard deviation of an average, relative to the length of training."""


class PowerEMA(Validated, Callback):
    """Tracks power-function averages of the weights and writes float32 snapshots of them to the run folder.

    `generate --ema LENGTH` computes an average of any length near the tracked ones from them (post-hoc EMA, Karras et
    al. 2024). The callback `ema` is still used for evaluation during training.

    Args:
        lengths: Standard deviations of the averages relative to the length of training, at least two in (0, 0.28].
        snapshots: Number of snapshots, evenly spaced over training.
    """

    def __init__(self, lengths: Annotated[tuple[Length, ...], MinLen(2)] = (0.05, 0.1), snapshots: Count = 16) -> None:
        if len(set(lengths)) < 2:
            raise ValueError(f"lengths must be at least 2 different ones, got {list(lengths)}")
        self.lengths, self.snapshots = tuple(lengths), snapshots
        self.updates, self.due = 0, set[int]()
        self.averages: list[dict[str, Tensor]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        total = trainer.estimated_stepping_batches
        if total == float("inf"):
            raise UserError("power_ema requires an end of training; set trainer.max_steps or trainer.max_epochs")
        first = trainer.global_step - self.updates
        count = int(total) - first
        self.due = {round(count * k / self.snapshots) for k in range(1, self.snapshots + 1)} | {count}
        self._folder = Path(trainer.default_root_dir) / FOLDER
        self._remove_later()
        live = averaged_tensors(pl_module)
        averages = self.averages or [live for _ in self.lengths]
        self.averages = [
            {name: at_least_float32(average[name].detach()).to(live[name].device, copy=True) for name in live}
            for average in averages
        ]
        size = sum(4 * tensor.numel() for tensor in live.values()) * len(self.lengths) / 1e6
        rank_zero_only(say)(f"power_ema: {self.snapshots} snapshots of {size:.1f} MB", file=sys.stderr)
        self._step = trainer.global_step

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if trainer.global_step == self._step:
            return
        self._step, self.updates = trainer.global_step, self.updates + 1
        live = [at_least_float32(tensor.detach()) for tensor in averaged_tensors(pl_module).values()]
        for length, average in zip(self.lengths, self.averages, strict=True):
            torch._foreach_lerp_(list(average.values()), live, 1 - decay(length, self.updates))
        if self.updates in self.due:
            self._write()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.updates and self.updates not in self.due:  # stopped early
            self._write()

    @rank_zero_only
    def _write(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"{k}/{name}": t for k, average in enumerate(self.averages) for name, t in average.items()}
        header = {"lengths": list(self.lengths), "step": self.updates}
        safetensors.save(header, tensors, self._folder / f"{self.updates}.safetensors")

    @rank_zero_only
    def _remove_later(self) -> None:
        """Removes the snapshots after the current update, of a continuation that was abandoned."""
        for path in self._folder.glob("*.safetensors"):
            if path.stem.isdecimal() and int(path.stem) > self.updates:
                path.unlink()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self.averages:
            state = {"lengths": list(self.lengths), "updates": self.updates, "weights": self.averages}
            checkpoint["power_ema"] = state

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        state = checkpoint.get("power_ema")
        if state is None:
            return
        if state["lengths"] != list(self.lengths):
            had, now = state["lengths"], list(self.lengths)
            raise UserError(f"callbacks.power_ema.lengths must be those of the checkpoint, {had}, got {now}")
        self.updates, self.averages = state["updates"], [dict(weights) for weights in state["weights"]]

    def roll_back(self, checkpoint: dict[str, Any]) -> None:
        """Take the averages of `checkpoint`, of the same run; they have had fewer updates than the run has steps."""
        self.updates = checkpoint["power_ema"]["updates"]
        for average, saved in zip(self.averages, checkpoint["power_ema"]["weights"], strict=True):
            for name, tensor in average.items():
                tensor.copy_(saved[name])
        self._remove_later()
