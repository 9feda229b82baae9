"""Free memory, and whether the tensors of a module fit into it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

_UNLIMITED = 1 << 62
_MOST_TENSORS, _SLACK = 200_000, 1 << 20
_restored: ContextVar[tuple[int, int] | None] = ContextVar("restored", default=None)
"""Bytes and number of the tensors from which a module is being restored."""
_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


class _TooLarge(BaseException):
    """Leaves the construction of a module, whatever exceptions its code handles."""


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


@contextmanager
def weights_of(tensors: Iterable[Any]) -> Iterator[None]:
    """Context in which `require_memory` lets a module have as much as `tensors` of any shape, which are its weights.

    What a file says of its model cannot make it take more memory, or time, than the weights in the file do.
    """
    sizes = [tensor.nbytes for tensor in tensors]
    token = _restored.set((sum(sizes), len(sizes)))
    try:
        yield
    finally:
        _restored.reset(token)


def require_memory(name: str, make: Callable[[], object]) -> None:
    """Raises ValueError if the parameters and buffers of the module returned by `make` would exceed the free memory.

    `make` is called on the meta device, without memory, arithmetic or random numbers, and left as soon as they do.
    Modules that cannot be made there are not checked.
    """
    import torch
    from torch.nn.modules import module as modules

    free = free_memory()
    known = _restored.get()
    most, count = (free, _MOST_TENSORS) if known is None else (min(free, known[0] + _SLACK), 2 * known[1] + 100)
    size = tensors = 0

    def add(module: object, key: str, tensor: Any) -> None:
        nonlocal size, tensors
        if tensor is not None:
            size, tensors = size + tensor.numel() * tensor.element_size(), tensors + 1
        if size > most or tensors > count:
            raise _TooLarge

    hooks = [
        modules.register_module_parameter_registration_hook(add),
        modules.register_module_buffer_registration_hook(add),
    ]
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            make()
    except _TooLarge:
        if known is not None:
            raise ValueError(f"{name} is larger than the weights in the file") from None
        if tensors > count:
            raise ValueError(f"{name} must have at most {count:,} tensors of weights") from None
        limit = f"{free / 1e9:.1f} GB of free memory"
        raise ValueError(f"the weights of {name} must fit into {limit}, got more than {size / 1e9:.1f} GB") from None
    except Exception:
        return
    finally:
        for hook in hooks:
            hook.remove()
