"""Free memory, and whether the tensors of a module fit into it."""

from __future__ import annotations

from collections.abc import Callable


def free_memory() -> int:
    """Available memory in bytes; unlimited if the system does not report it."""
    try:
        with open("/proc/meminfo") as file:
            fields = dict(line.split(":", 1) for line in file)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return 1 << 62


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
