"""The idx format of MNIST: two zero bytes, a type byte (8: unsigned byte), the number of dimensions, the dimensions as
big-endian 32-bit integers, then the values."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor

from genmods.core.errors import UserError


def read_idx(path: str | Path) -> Tensor:
    """The uint8 tensor of an idx file, gzipped or not, with the shape [...] of its header.

    Raises UserError, with the file name, if it is broken.
    """
    path = Path(path)
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    if len(data) < 4 or data[:3] != b"\0\0\x08":
        raise UserError(f"{path}: not an idx file of bytes")
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise UserError(f"{path}: truncated header")
    shape = struct.unpack(f">{data[3]}I", data[4:start])
    if len(data) - start != math.prod(shape):
        raise UserError(f"{path}: must contain {math.prod(shape)} bytes {list(shape)}, got {len(data) - start}")
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)[start:].view(shape)
