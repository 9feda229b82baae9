"""Free memory, and whether the tensors of a module fit into it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

_UNLIMITED = 1 << 62
_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def free_memory() -> int:
    """Bytes that this process can still get; 2**62 if the system does not report it.

    The least of the available memory, what is left of the control group's limit (of a container or a job), and what is
    left of the address space's limit.
    """
    return max(0, min(_available(), _left_in_group(), _left_in_address_space()))


def _available() -> int:
    try:
        with open("/proc/meminfo") as file:
            fields = dict(line.split(":", 1) for line in file)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return _UNLIMITED


def _left_in_group() -> int:
    for limit, used in _GROUPS:
        try:
            return int(Path(limit).read_text()) - int(Path(used).read_text())
        except (OSError, ValueError):  # there is none, or it is "max"
            continue
    return _UNLIMITED


def _left_in_address_space() -> int:
    try:
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit == resource.RLIM_INFINITY:
            return _UNLIMITED
        return limit - int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (ImportError, OSError, ValueError):
        return _UNLIMITED


def require_memory(name: str, make: Callable[[], object]) -> None:
    """Raises ValueError if the parameters and buffers of the module returned by `make` would exceed the free memory.

    `make` is called on the meta device, without memory, arithmetic or random numbers. Modules that cannot be made there
    are not checked.
    """
    import torch
    from torch import nn

    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            module = make()
    except Exception:
        return
    tensors = (*module.parameters(), *module.buffers()) if isinstance(module, nn.Module) else ()
    size, free = sum(tensor.numel() * tensor.element_size() for tensor in tensors), free_memory()
    if size > free:
        raise ValueError(
            f"the weights of {name} must fit into {free / 1e9:.1f} GB of free memory, got {size / 1e9:.1f} GB"
        )
