"""Damage to a file's bytes, and checkpoints and exports that other programs could have written."""

from __future__ import annotations

import random
from pathlib import Path

KINDS = ("flip", "flip", "flip", "cut", "cut", "zeros", "noise", "swap", "insert", "remove", "append", "other")


def damage(path: Path, chance: random.Random) -> str:
    """Damage the file `path` at random; returns the kind."""
    data = bytearray(path.read_bytes())
    kind, size = chance.choice(KINDS), len(data)
    start = chance.randrange(size)
    stop = min(size, start + chance.choice((1, 16, 512, 4096)))
    if kind == "flip":
        data[start] ^= 1 << chance.randrange(8)
    elif kind == "cut":
        del data[start:]
    elif kind == "zeros":
        data[start:stop] = bytes(stop - start)
    elif kind == "noise":
        data[start:stop] = chance.randbytes(stop - start)
    elif kind == "swap":
        other = chance.randrange(size)
        data[start], data[other] = data[other], data[start]
    elif kind == "insert":
        data[start:start] = chance.randbytes(7)
    elif kind == "remove":
        del data[start:stop]
    elif kind == "append":
        data += chance.randbytes(99)
    else:
        data = bytearray(chance.choice([b"", b"\0" * size, b"PK\x03\x04", b"not a file", data[::-1]]))
    path.write_bytes(data)
    return kind
