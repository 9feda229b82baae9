"""The memory of a training step, estimated on the meta device, and the batch size `auto` that follows from it."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn

from genmods.callbacks.ema import find_ema
from genmods.callbacks.throughput import peak_memory_gb
from genmods.core.batch import EPOCH, INDEX
from genmods.core.errors import UserError
from genmods.core.memory import free_memory
from genmods.core.system import is_out_of_memory
from genmods.data.base import DataModule
from genmods.runs.checkpoint import Checkpoint
from genmods.tasks.base import Task

_log = logging.getLogger(__name__)
_SHARE, _MARGIN = 0.5, 1.5
"""The share of the free memory that `auto` takes, and what workspaces add to the tensors that are kept."""
_LARGEST, _STEPS = 1024, 16
"""The upper bound of `auto`, and the least number of steps per epoch."""


class Footprint(NamedTuple):
    """Bytes of a training step: those of weights, gradients, averages and optimizer, and those of each sample."""

    fixed: int
    per_sample: int

    def fits(self, room: int) -> int:
        """The largest power of two of samples whose step takes `room` bytes, at least 1."""
        count = max(1, (room - self.fixed) // max(1, self.per_sample))
        return 1 << (count.bit_length() - 1)


def footprint(task: Task, data: DataModule, averages: int = 0) -> Footprint:
    """The estimate for a task with so many averages of its weights, from steps of 2 and 4 samples without values.

    Raises whatever a task raises that reads values in its training step.
    """
    weights = sum(parameter.nbytes for parameter in task.parameters())
    small, large = (_kept(task, data, n) for n in (2, 4))
    return Footprint((4 + averages) * weights, int(_MARGIN * (large - small) / 2))


def _kept(task: Task, data: DataModule, n: int) -> int:
    """Bytes of the tensors that the backward pass of a step of `n` samples needs, and of the batch."""
    tensors = (*task.parameters(), *task.buffers())
    instead: dict[int, Any] = {id(tensor): _without_values(tensor) for tensor in tensors} | {id(task._trainer): None}
    shadow: Any = copy.deepcopy(task, instead).to("meta")  # the device that a task reports
    shadow.log = shadow.log_mean = lambda *_, **__: None
    index = torch.arange(n) % len(data.splits["train"])
    batch = {**data.prepare(data.splits["train"].batch(index)), INDEX: index, EPOCH: torch.zeros_like(index)}
    given = {name: tensor.to("meta") for name, tensor in batch.items()}
    own = {tensor.untyped_storage()._cdata for tensor in (*shadow.parameters(), *shadow.buffers())}
    kept: dict[int, Any] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return tensor

    with torch.random.fork_rng(devices=[]), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        shadow.training_step(given, 0)
    return sum(storage.nbytes() for storage in kept.values()) + sum(tensor.nbytes for tensor in given.values())


def _without_values(tensor: Tensor) -> Tensor:
    """A parameter or buffer [...] on the meta device."""
    moved = tensor.detach().to("meta")
    return nn.Parameter(moved, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else moved


def automatic(task: Task, data: DataModule, trainer: Trainer) -> int:
    """The batch size `auto`: the largest power of two whose step takes at most half of the free memory.

    It is at most 1,024 and a sixteenth of the training samples. Raises UserError for several devices, which could not
    agree, and for a task whose memory cannot be estimated.
    """
    if trainer.num_devices * trainer.num_nodes > 1:
        raise UserError("data.batch_size: auto is for one device; set a number for several")
    try:
        estimate = footprint(task, data, _averages(trainer))
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"data.batch_size: auto cannot estimate the memory of this task ({reason}); set it") from error
    most = min(_LARGEST, max(1, len(data.splits["train"]) // _STEPS))
    size = min(estimate.fits(int(_SHARE * _room(trainer))), 1 << (most.bit_length() - 1))
    _log.warning("data.batch_size: auto is %d", size)
    return size


def batch_size_of(before: Checkpoint | None) -> int | None:
    """The batch size of the run of a checkpoint, if there is one."""
    size = before.recipe["data"].get("batch_size") if before else None
    return size if isinstance(size, int) else None


@contextmanager
def explain_out_of_memory(task: Task, data: DataModule, trainer: Trainer) -> Iterator[None]:
    """Context that converts an allocator's error to a UserError with the batch size, the peak and what should fit."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        size, peak = data.batch_size, peak_memory_gb(task)
        error.__traceback__ = None  # its frames hold the tensors
        raise UserError(
            f"out of memory at step {trainer.global_step + 1} with data.batch_size {size} (peak {peak:.2f} GB, "
            f"{_total(trainer) / 1e9:.2f} GB in all); about {_smaller(task, data, trainer)} should fit, "
            "trainer.accumulate_grad_batches keeps the gradient of a larger batch"
        ) from None


def _smaller(task: Task, data: DataModule, trainer: Trainer) -> int:
    half = max(1, data.batch_size // 2)
    try:
        return min(half, footprint(task, data, _averages(trainer)).fits(int(0.9 * _total(trainer))))
    except Exception:
        return half


def _averages(trainer: Trainer) -> int:
    ema = find_ema(trainer)
    return len(ema.decays) if ema else 0


def _room(trainer: Trainer) -> int:
    """Free bytes of the device of training."""
    device = trainer.strategy.root_device
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()


def _total(trainer: Trainer) -> int:
    """Bytes that the process could have on the device of training: those it has had, and those that are free."""
    device = trainer.strategy.root_device
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    return free_memory() + int(1e9 * peak_memory_gb(trainer.lightning_module))
