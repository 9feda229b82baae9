"""Interrupts a command when it is about to put its k-th file in place."""

import itertools
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def interrupted_at_file(k):
    calls, replace = itertools.count(1), Path.replace

    def stops(path, target):
        if next(calls) == k:
            raise KeyboardInterrupt
        return replace(path, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", stops)
        yield
