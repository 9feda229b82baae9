"""How much memory there is, and whether a module's tensors fit into it."""

from __future__ import annotations

from collections.abc import Callable


def free_memory() -> int:
    """Bytes that the system could still give; unlimited if it does not say."""
    try:
        with open("/proc/meminfo") as file:
            fields = dict(line.split(":", 1) for line in file)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return 1 << 62


def require_memory(name: str, make: Callable[[], object]) -> None:
    """Raise ValueError if the parameters and buffers of the module that `make` makes would not fit into free memory.

    It is made on the meta device: without memory, arithmetic or random numbers. What cannot be made there is let pass.
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
