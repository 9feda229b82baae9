"""Which device computes, and where its float64 numbers are.

Noise schedules and sums are float64. Apple's GPUs and some of Intel's compute no float64: there these numbers stay on
the CPU, and meet the data as float32.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def default_device() -> torch.device:
    """The accelerator that torch finds, in the order cuda, mps, xpu; the CPU where it finds none."""
    accelerators = {"cuda": torch.cuda, "mps": torch.backends.mps, "xpu": torch.xpu}
    found = (name for name, module in accelerators.items() if module.is_available())
    return torch.device(next(found, "cpu"))


def has_float64(device: torch.device) -> bool:
    """Whether `device` computes float64."""
    return device.type in ("cpu", "cuda", "meta") or _tried(device)


@lru_cache
def _tried(device: torch.device) -> bool:
    if device.type == "xpu":  # makes the tensor, and fails where it computes with it
        return bool(torch.xpu.get_device_properties(device).has_fp64)
    try:
        torch.zeros(1, dtype=torch.float64, device=device)
    except (TypeError, RuntimeError):
        return False
    return True


def float64_device(device: torch.device) -> torch.device:
    """Where the float64 numbers of data on `device` are: there, or on the CPU where it has no float64."""
    return device if has_float64(device) else torch.device("cpu")


def to_float64(x: Tensor) -> Tensor:
    """`x`, of any shape, in float64, on `float64_device`."""
    return x.to(float64_device(x.device)).double()


def at_least_float32(x: Tensor) -> Tensor:
    """`x`, of any shape, in float32, or as it is where that is wider."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
