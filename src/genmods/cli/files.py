"""The image files and folders that options name."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def folder(text: str) -> Path:
    """An option: a folder to write to, which need not be there yet."""
    path = Path(text)
    for place in (path, *path.parents):
        if place.exists() and not place.is_dir():
            raise argparse.ArgumentTypeError(f"{place} is a file, not a folder")
    return path


def readable(paths: list[Path], shape: tuple[int, int, int], broken: list[str]) -> tuple[list[str], list[Tensor]]:
    """Names and images [C, H, W] in [-1, 1] of the files that can be read, brought to `shape` as the images of a folder
    are for training; a line for each other one is added to `broken`."""
    from genmods.data.decoding import decode_files
    from genmods.data.images import to_float

    channels, side, _ = shape
    pixels, good, lines = decode_files(paths, side, channels, "white", max_pixels=80_000_000)
    broken += lines
    return [str(path) for path, fine in zip(paths, good.tolist(), strict=True) if fine], list(to_float(pixels[good]))
