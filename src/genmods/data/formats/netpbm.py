"""PPM files of more than 8 bits per channel, which Pillow would reduce to 8 bits."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

_SPACE = rb"(?:\s|#[^\n]*\n)+"
_HEADER = re.compile(rb"(P[36])" + _SPACE + rb"(\d+)" + _SPACE + rb"(\d+)" + _SPACE + rb"(\d+)\s")


def white_of_ppm(path: Path) -> int:
    """The value of white in a PPM file; 255 for a file of another kind."""
    with open(path, "rb") as file:
        found = _HEADER.match(file.read(4096))
    return int(found[4]) if found else 255


def read_ppm(path: Path) -> np.ndarray:
    """The pixels [H, W, 3] of a PPM file, scaled to 16 bits. Raises ValueError if it is broken."""
    content = path.read_bytes()
    if not (found := _HEADER.match(content)):
        raise ValueError("is not a PPM file")
    width, height, white = map(int, found.groups()[1:])
    count, rest = 3 * width * height, content[found.end() :]
    if found[1] == b"P3":
        values = np.array(rest.split()[:count], dtype=np.int64)
    else:
        values = np.frombuffer(rest[: 2 * count], dtype=">u2").astype(np.int64)
    if len(values) < count:
        raise ValueError("is truncated")
    if values.max() > white:
        raise ValueError(f"has values above {white}")
    return np.rint(values * (65535 / white)).astype(np.uint16).reshape(height, width, 3)
