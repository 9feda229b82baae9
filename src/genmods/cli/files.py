"""Image files and folders given as options."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from genmods.core.errors import UserError
from genmods.core.printable import say

if TYPE_CHECKING:
    from torch import Tensor

    from genmods.data.preparation import Preparation


def folder(text: str) -> Path:
    """The type of an option: an output folder, which need not exist yet."""
    path = Path(text)
    for place in (path, *path.parents):
        if place.exists() and not place.is_dir():
            raise argparse.ArgumentTypeError(f"expected a folder, got the file {place}")
    return path


def readable(paths: list[Path], preparation: Preparation | None, broken: list[str]) -> tuple[list[str], list[Tensor]]:
    """Read image files, prepared like the training data of a model.

    Args:
        paths: Image files.
        preparation: How the images of a model are prepared; None for a model of other data.
        broken: Receives one line for each file that cannot be read.

    Returns:
        Names and images [C, H, W] in [-1, 1].

    Raises:
        UserError: If the model does not take images.
    """
    from genmods.data.decoding import decode_files
    from genmods.data.images import to_float

    if preparation is None or preparation.levels is None:
        raise UserError("this model does not take image files")
    pixels, good, lines, _, notes = decode_files(paths, preparation)
    broken += lines
    for line in notes:
        say(line, file=sys.stderr)
    names = [str(path) for path, fine in zip(paths, good.tolist(), strict=True) if fine]
    return names, list(to_float(pixels[good], preparation.levels))
