"""Exponential moving averages (EMA) of the weights, used in every evaluation.

The averages follow w_ema <- d w_ema + (1 - d) w with the warm-up d = min(decay, (1 + n) / (10 + n)) at update n, which
reduces the influence of the random initialisation. They replace the raw weights during validation and testing and are
saved under `ema` in addition to them. Several decays can be tracked; evaluations use the first. The averages are
float32 also for bfloat16 weights, because the update, (1 - d) times a difference, would mostly be rounded away in
bfloat16.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from annotated_types import Gt, Lt, MinLen
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from genmods.core.devices import at_least_float32
from genmods.core.errors import UserError
from genmods.core.settings import Validated

Decay = Annotated[float, Gt(0), Lt(1)]
"""The weight of the past in a moving average."""


def averaged_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The tensors to average, of any shape, by name: floating-point parameters and persistent buffers."""
    return {name: tensor for name, tensor in module.state_dict(keep_vars=True).items() if tensor.is_floating_point()}


class EMA(Validated, Callback):
    """Tracks moving averages of the weights and swaps in the first for validation, testing and sampling."""

    def __init__(self, decays: Annotated[tuple[Decay, ...], MinLen(1)] = (0.999,)) -> None:
        self.decays = tuple(decays)
        self.updates = 0
        self.shadows: list[dict[str, Tensor]] = []
        self.raw: dict[str, Tensor] = {}  # the raw weights while they are replaced by averages

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        live = averaged_tensors(pl_module)
        if not self.shadows:
            self.shadows = [dict(live) for _ in self.decays]
        self.shadows = [
            {name: at_least_float32(shadow[name].detach()).to(live[name].device, copy=True) for name in live}
            for shadow in self.shadows
        ]
        self._step = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        live = [at_least_float32(tensor.detach()) for tensor in averaged_tensors(pl_module).values()]
        warm_up = (1 + self.updates) / (10 + self.updates)
        for decay, shadow in zip(self.decays, self.shadows, strict=True):
            get_ema_multi_avg_fn(min(decay, warm_up))(list(shadow.values()), live, self.updates)
        self.updates += 1

    @property
    def swapped(self) -> bool:
        """Whether the averages currently replace the weights."""
        return bool(self.raw)

    def _swap(self, module: nn.Module) -> None:
        live, raw = averaged_tensors(module), self.raw
        self.raw = {} if raw else {name: tensor.data for name, tensor in live.items()}
        for name, tensor in live.items():
            tensor.data = raw[name] if raw else self.shadows[0][name].to(tensor)

    @contextmanager
    def weights(self, module: nn.Module, averaged: bool) -> Iterator[None]:
        """Context in which `module` has the averaged weights, or, if not `averaged`, the raw ones."""
        change = bool(self.shadows) and self.swapped != averaged
        if change:
            self._swap(module)
        try:
            yield
        finally:
            if change:
                self._swap(module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.shadows and not self.swapped:
            self._swap(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.swapped:
            self._swap(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self.swapped:
            self._swap(pl_module)

    on_test_start, on_test_end = on_validation_start, on_validation_end

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if not self.shadows:
            return
        checkpoint["state_dict"] = {**checkpoint["state_dict"], **self.raw}
        checkpoint["ema"] = {"decays": list(self.decays), "updates": self.updates, "weights": self.shadows}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.check_continued(checkpoint)
        if "ema" in checkpoint:
            self.updates = checkpoint["ema"]["updates"]
            self.shadows = [
                {name: tensor.clone() for name, tensor in weights.items()} for weights in checkpoint["ema"]["weights"]
            ]

    def roll_back(self, checkpoint: dict[str, Any]) -> None:
        """Take the averages of `checkpoint`, of the same run."""
        self.updates = checkpoint["ema"]["updates"]
        for shadow, saved in zip(self.shadows, checkpoint["ema"]["weights"], strict=True):
            for name, tensor in shadow.items():
                tensor.copy_(saved[name])

    def check_continued(self, checkpoint: dict[str, Any]) -> None:
        """Raises UserError if the averages in `checkpoint` have other decays."""
        before, now = checkpoint["ema"]["decays"] if "ema" in checkpoint else [], list(self.decays)
        if before not in ([], now):
            raise UserError(f"callbacks.ema.decays must be those of the checkpoint, {before}, got {now}")


def find_ema(trainer: Trainer) -> EMA | None:
    """The trainer's EMA callback, or None."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    return next((callback for callback in callbacks if isinstance(callback, EMA)), None)
