"""The precision of a run: bfloat16 if the device computes it natively and faster than float32, otherwise float32.

Weights, their averages and images are float32 in all precisions; "mixed" means autocast of the networks. A run resolves
`auto` once, at its start. The result is stored in checkpoints and used by later commands without a measurement.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F

FULL, BFLOAT16, HALF = "32-true", "bf16-mixed", "16-mixed"
NAMES = {"32": FULL, "16": HALF, "bf16": BFLOAT16}
"""Short name -> name in checkpoints and in Lightning."""

GAIN = 1.2
"""bfloat16 is used if it is at least this many times as fast as float32."""

ROUNDS, WARM_UP = 5, 2


class Shape(NamedTuple):
    """A measured convolution."""

    batch: int
    channels: int
    side: int
    kernel: int = 3
    groups: int = 1


SHAPES = {"cpu": (Shape(64, 32, 8), Shape(16, 64, 16))}
LARGE = (Shape(64, 128, 32),)
"""The measured convolutions; the sizes for a CPU would not utilise a GPU."""

GROUPED = (Shape(16, 96, 32, 3, 96),)
"""The same on a CPU for models with grouped convolutions, which take most of their time: a depthwise one."""


class Choice(NamedTuple):
    """A resolved precision, `32-true`, `bf16-mixed` or `16-mixed`, and the reason for it."""

    value: str
    reason: str

    def __str__(self) -> str:
        return f"{self.value} ({self.reason})"


def resolve(asked: str, device: torch.device, kept: str | None = None, grouped: bool = False) -> Choice:
    """Resolve the precision of a run.

    Args:
        asked: The requested precision: `auto`, `32`, `16` or `bf16`, or a value of `NAMES`.
        device: The device of the run.
        kept: Precision of the checkpoint that the run starts from; `auto` keeps it if the device supports it.
        grouped: Whether the model has grouped convolutions, such as depthwise ones; on a CPU they may be slower in
            bfloat16.

    Returns:
        The precision and the reason. It is measured only if `asked` is `auto` and `kept` is None.
    """
    if asked != "auto":
        value = NAMES.get(asked, asked)
        return Choice(value, "as set" if computes(value, device) else f"as set; {device.type} only emulates it")
    if kept is not None:
        if computes(kept, device):
            return Choice(kept, "that of the checkpoint")
        return Choice(FULL, f"the checkpoint has {kept}, which {device.type} does not compute natively")
    return measured(device, grouped)


def measured(device: torch.device, grouped: bool = False) -> Choice:
    """bfloat16 if `device` computes it natively and at least `GAIN` times as fast as float32, otherwise float32."""
    if not computes(BFLOAT16, device):
        return Choice(FULL, f"{device.type} does not compute bfloat16 natively")
    gain = bfloat16_gain(device, grouped)
    if gain is None:
        return Choice(FULL, f"bfloat16 convolutions fail on {device.type}")
    where = " in depthwise convolutions" if grouped and device.type == "cpu" else ""
    return Choice(BFLOAT16 if gain >= GAIN else FULL, f"bfloat16 is {gain:.1f} times as fast as float32{where}")


def computes(precision: str, device: torch.device) -> bool:
    """Whether `device` computes natively in `precision`, a value of `NAMES`."""
    if precision == BFLOAT16:
        return native_bfloat16(device)
    return precision == FULL or device.type != "cpu"


@lru_cache
def native_bfloat16(device: torch.device) -> bool:
    """Whether `device` has bfloat16 units that torch's libraries use; emulation does not count.

    Metal does not report whether a GPU emulates bfloat16; there `bfloat16_gain` decides.
    """
    if device.type == "cpu":
        return _cpu_bfloat16()
    if device.type == "cuda":
        if not torch.cuda.is_available():
            return False
        return bool(torch.version.hip) or torch.cuda.get_device_properties(device).major >= 8
    if device.type == "mps":
        return torch.backends.mps.is_macos_or_newer(14, 0)
    return device.type == "xpu" and torch.xpu.is_bf16_supported(including_emulation=False)


def _cpu_bfloat16() -> bool:
    """Whether oneDNN may use bfloat16 units (limited by ONEDNN_MAX_CPU_ISA), not counting emulation by AVX-512."""
    if not torch.backends.mkldnn.is_available() or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    return platform.machine().lower() not in ("x86_64", "amd64") or torch.cpu._is_avx512_bf16_supported()


def bfloat16_gain(device: torch.device, grouped: bool = False) -> float | None:
    """Speed-up of convolutions, forward and backward, in bfloat16 over float32; None if one fails.

    Both types are measured alternately and medians compared. On a CPU this is the processor time of one thread, which
    is hardly affected by other load on the machine.
    """
    try:
        with _one_thread():
            shapes = GROUPED if grouped and device.type == "cpu" else SHAPES.get(device.type, LARGE)
            pairs = [_medians(_convolution(device, shape), device) for shape in shapes]
    except Exception:  # whatever the device does not implement
        return None
    return sum(full for full, _ in pairs) / sum(reduced for _, reduced in pairs)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _convolution(device: torch.device, shape: Shape) -> Callable[[bool], None]:
    """Forward and backward pass of a convolution, in bfloat16 if its argument is true."""
    batch, channels, side, kernel, groups = shape
    x = torch.ones(batch, channels, side, side, dtype=torch.float32, device=device)
    x = x.to(memory_format=torch.channels_last).requires_grad_()
    size = (channels, channels // groups, kernel, kernel)
    weight = torch.full(size, 0.01, dtype=torch.float32, device=device, requires_grad=True)

    def run(reduced: bool) -> None:
        with torch.enable_grad(), torch.autocast(device.type, torch.bfloat16, enabled=reduced):
            out = F.conv2d(x, weight, padding=kernel // 2, groups=groups)
        torch.autograd.grad(out, (x, weight), out.detach())[1].sum().item()  # synchronises a GPU

    return run


def _medians(run: Callable[[bool], None], device: torch.device) -> tuple[float, float]:
    """Median seconds of `run(False)` and `run(True)`, called alternately."""
    clock = time.thread_time if device.type == "cpu" and os.name == "posix" else time.perf_counter  # else too coarse
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(WARM_UP + ROUNDS):
        for reduced in (False, True):
            start = clock()
            run(reduced)
            seconds[reduced].append(clock() - start)
    return statistics.median(seconds[False][WARM_UP:]), statistics.median(seconds[True][WARM_UP:])
