"""The default device, and the device for float64.

Noise schedules and sums are computed in float64. Apple's and some of Intel's GPUs do not support float64; for them
these numbers are computed on the CPU and converted to float32.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache

import torch
from torch import Tensor


def default_device() -> torch.device:
    """The first available accelerator of cuda, mps, xpu; otherwise the CPU."""
    accelerators = {"cuda": torch.cuda, "mps": torch.backends.mps, "xpu": torch.xpu}
    found = (name for name, module in accelerators.items() if module.is_available())
    return torch.device(next(found, "cpu"))


def has_float64(device: torch.device) -> bool:
    """Whether `device` supports float64."""
    return device.type in ("cpu", "cuda", "meta") or _tried(device)


@lru_cache
def _tried(device: torch.device) -> bool:
    if device.type == "xpu":  # creates the tensor, but fails to compute with it
        return bool(torch.xpu.get_device_properties(device).has_fp64)
    try:
        torch.zeros(1, dtype=torch.float64, device=device)
    except (TypeError, RuntimeError):
        return False
    return True


def float64_device(device: torch.device) -> torch.device:
    """The device for float64 computations of data on `device`: itself, or the CPU if it does not support float64."""
    return device if has_float64(device) else torch.device("cpu")


def to_float64(x: Tensor) -> Tensor:
    """`x`, of any shape, in float64, on `float64_device`."""
    return x.to(float64_device(x.device)).double()


def at_least_float32(x: Tensor) -> Tensor:
    """`x`, of any shape, in float32, or unchanged if its dtype is wider."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


_AUTOCAST = {kind for kind in ("cpu", "cuda", "mps", "xpu") if torch.amp.is_autocast_available(kind)}


def full_precision(device: torch.device) -> AbstractContextManager:
    """A context that disables autocast on this device."""
    return torch.autocast(device.type, enabled=False) if device.type in _AUTOCAST else nullcontext()
