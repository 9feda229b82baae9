"""PNG and TIFF files with 16 bits per channel as uint16 [H, W, C]; Pillow would reduce them to 8 bits."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genmods.data.formats.exif import texts


def png_header(path: str | Path) -> tuple[int, bool]:
    """Bits per channel, and whether the image is grey, from the header of a PNG file.

    Raises ValueError if the file has no IEND chunk: Pillow accepts a truncated file if all pixels can be decoded.
    """
    with open(path, "rb") as file:
        header = file.read(26)
        file.seek(-min(file.seek(0, os.SEEK_END), 64), os.SEEK_END)
        if b"IEND" not in file.read():
            file.seek(0)
            if b"IEND" not in file.read():  # other data may follow the image
                raise ValueError("is truncated, its end is missing")
    return header[24], header[25] in (0, 4)


def read_png(path: str | Path) -> np.ndarray:
    """The pixels [H, W, C] of a PNG file. Raises RuntimeError if it is broken."""
    from torchvision.io import ImageReadMode, decode_png

    encoded = torch.from_numpy(np.fromfile(path, dtype=np.uint8))
    return decode_png(encoded, ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy()


def write_png(path: Path, pixels: np.ndarray, icc: bytes | None, exif: bytes | None = None) -> None:
    """Writes a PNG file, rows unfiltered, with a colour profile and EXIF data (PNG specification, third edition,
    sections 5, 11)."""
    height, width, channels = pixels.shape
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = pixels.astype(">u2").reshape(height, -1).view(np.uint8)
    data = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1).tobytes()
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0))]
    chunks += [] if icc is None else [(b"iCCP", b"profile\0\0" + zlib.compress(icc))]
    chunks += [] if exif is None else [(b"eXIf", exif.removeprefix(b"Exif\0\0"))]
    chunks += [(b"IDAT", zlib.compress(data, 6)), (b"IEND", b"")]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in chunks
        )
    )


def write_tiff(path: Path, pixels: np.ndarray, icc: bytes | None, exif: bytes | None = None) -> None:
    """Writes a deflate-compressed TIFF file, grey, RGB, RGBA or with other channels, with a colour profile and the
    texts of EXIF data, such as camera, time and copyright."""
    import tifffile

    channels = pixels.shape[2]
    settings: dict[str, Any] = {"photometric": "minisblack"}
    if channels == 2 or channels > 4:
        settings |= {"planarconfig": "contig", "extrasamples": ["unspecified"] * (channels - 1)}
    elif channels > 1:
        alpha = ["unassalpha"] if channels == 4 else None
        settings = {"photometric": "rgb", "planarconfig": "contig", "extrasamples": alpha}
    pixels = pixels.squeeze(2) if channels == 1 else pixels
    tags = {} if exif is None else dict(texts(exif))
    settings |= {"software": tags.pop(305, False), "extratags": [(tag, 2, 0, text, True) for tag, text in tags.items()]}
    tifffile.imwrite(path, pixels, compression="zlib", metadata=None, iccprofile=icc, **settings)
