"""Construction of networks on the meta device, without memory, to find out whether they can be constructed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from genmods.core.memory import require_memory

_on_meta: ContextVar[bool] = ContextVar("on_meta", default=False)


@contextmanager
def on_meta() -> Iterator[None]:
    """Context in which `constructed` makes modules on the meta device, as far as they can be made there."""
    token = _on_meta.set(True)
    try:
        yield
    finally:
        _on_meta.reset(token)


def constructed(name: str, make: Callable[[], Any]) -> Any:
    """The module that `make` returns; raises ValueError if it would exceed the free memory."""
    import torch

    if not _on_meta.get():
        require_memory(name, make)
        return make()
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            return make()
    except Exception:
        return make()
