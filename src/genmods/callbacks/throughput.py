"""Throughput and memory: `train/images_per_s`, `train/memory_gb`, the number of parameters, and the time per stage.

Validation does not count towards the throughput. At the end `timing.json` is written to the run folder.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from genmods.callbacks.intervals import is_log_step
from genmods.tracking.base import logbook, run_folder, write_json


def peak_memory_gb(module: LightningModule) -> float:
    """Peak memory in 1e9 bytes: of the module's accelerator, or of this process on a CPU."""
    if module.device.type == "cuda":
        return torch.cuda.max_memory_allocated(module.device) / 1e9
    try:
        import resource
    except ImportError:
        return float("nan")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def batch_size(batch: Any) -> int:
    """The number of samples in a batch: a dictionary, a sequence or a tensor [B, ...]."""
    first = next(iter(batch.values())) if isinstance(batch, dict) else batch
    return len(first) if isinstance(first, torch.Tensor) else batch_size(first[0])


class Throughput(Callback):
    """Logs images per second over all devices, peak memory and the parameter count."""

    def __init__(self) -> None:
        self._images = 0
        self._seconds = 0.0
        self._totals = {"train": 0.0, "validate": 0.0}
        self._mark = 0.0
        self._paused = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and trainer.global_step == 0:
            logbook(trainer).metrics({"train/parameters": float(sum(p.numel() for p in pl_module.parameters()))})
        self._mark = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if self._paused:
            self._add("validate")
            self._paused = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._images += batch_size(batch) * trainer.world_size
        self._add("train")
        if is_log_step(trainer):
            pl_module.log("train/images_per_s", self._images / max(self._seconds, 1e-9))
            pl_module.log("train/memory_gb", peak_memory_gb(pl_module))
            self._images, self._seconds = 0, 0.0

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._add("train")
            self._paused = True  # until the next batch, since pictures are drawn after validation

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self._mark:  # training had started
            self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        self._add("validate" if self._paused else "train")
        if trainer.is_global_zero:
            seconds = {f"{stage}_seconds": round(value, 3) for stage, value in self._totals.items()}
            write_json(run_folder(trainer) / "timing.json", {**seconds, "steps": trainer.global_step})

    def _add(self, stage: str) -> None:
        now = time.perf_counter()
        self._totals[stage] += now - self._mark
        if stage == "train":
            self._seconds += now - self._mark
        self._mark = now

    def state_dict(self) -> dict[str, Any]:
        return {"totals": dict(self._totals)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._totals = dict(state_dict["totals"])
