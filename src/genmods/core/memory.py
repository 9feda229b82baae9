"""Free memory, and whether the tensors of a module fit into it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path, PurePosixPath
from typing import Any

SIZE = r"\d{1,15}(\.\d{1,3})? ?([kKmMgGtT]i?)?B?"
"""The form of a number of bytes, such as 256MiB."""
_UNLIMITED = 1 << 62
_MOST_TENSORS, _SLACK = 200_000, 1 << 20
_restored: ContextVar[tuple[int, int] | None] = ContextVar("restored", default=None)
"""Bytes and number of the tensors from which a module is being restored."""
_GROUP, _GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
_V2 = ("memory.max", "memory.current", "inactive_file")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
"""The files of a limit and of the use of a control group, and its entry in memory.stat for unused cached files."""


class _TooLarge(BaseException):
    """Leaves the construction of a module, whatever exceptions its code handles."""


def bytes_of(size: str) -> int:
    """The number of bytes of a size such as "256MiB", "1.5 GB" or "1000"; raises ValueError for other text."""
    if not re.fullmatch(SIZE, size):
        raise ValueError(f"a size must be a number of bytes such as 256MiB, got {size!r}")
    number, unit = re.split(r"(?<=\d) ?(?=[A-Za-z]|$)", size, maxsplit=1)
    prefix = unit.lower().rstrip("b")
    return int(float(number) * (1024 if "i" in prefix else 1000) ** ["", *"kmgt"].index(prefix[:1]))


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
    """The least that is left of the limits of this process's control group and of those that contain it."""
    return min((_left(folder, *files) for folder, files in _groups()), default=_UNLIMITED)


def _groups() -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """The folders of the control groups that limit this process, with `_V1` or `_V2`."""
    try:
        lines = _GROUP.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root, files = (_GROUPS / "memory", _V1) if controllers else (_GROUPS, _V2)
        group = PurePosixPath(path)
        yield from ((root.joinpath(*each.parts[1:]), files) for each in (group, *group.parents))


def _left(folder: Path, limit: str, used: str, cached: str) -> int:
    """Bytes below the limit of a control group; cached files that are not in use count as free."""
    try:
        left = int((folder / limit).read_text()) - int((folder / used).read_text())
    except (OSError, ValueError):  # there is none, or it is "max"
        return _UNLIMITED
    try:
        entries = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return left + int(entries[cached])
    except (OSError, KeyError, ValueError):
        return left


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

    The settings in a file cannot make a model take more memory or time than the weights in the file do.
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
