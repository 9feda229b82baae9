"""Whether networks read their initial weights, from a file or a download, when they are built."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_replaced: ContextVar[bool] = ContextVar("replaced", default=False)


@contextmanager
def without_weights() -> Iterator[None]:
    """Context in which networks read and download no initial weights, because others will replace them."""
    token = _replaced.set(True)
    try:
        yield
    finally:
        _replaced.reset(token)


def loads_weights() -> bool:
    """Whether networks read their initial weights: not on the meta device, nor if others will replace them."""
    import torch

    return not _replaced.get() and torch.get_default_device().type != "meta"
