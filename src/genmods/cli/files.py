"""Image files and folders given as options."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def folder(text: str) -> Path:
    """The type of an option: an output folder, which need not exist yet."""
    path = Path(text)
    for place in (path, *path.parents):
        if place.exists() and not place.is_dir():
            raise argparse.ArgumentTypeError(f"expected a folder, got the file {place}")
    return path


def readable(paths: list[Path], shape: tuple[int, int, int], broken: list[str]) -> tuple[list[str], list[Tensor]]:
    """Read image files, resized to `shape` like the images of an `image_folder` for training.

    Args:
        paths: Image files, and folders of them.
        shape: [C, H, W] of the model.
        broken: Receives one line for each file that cannot be read.

    Returns:
        Names and images [C, H, W] in [-1, 1].
    """
    from genmods.data.decoding import decode_files
    from genmods.data.images import to_float

    channels, side, _ = shape
    pixels, good, lines = decode_files(paths, side, channels, "white", max_pixels=80_000_000)
    broken += lines
    return [str(path) for path, fine in zip(paths, good.tolist(), strict=True) if fine], list(to_float(pixels[good]))
