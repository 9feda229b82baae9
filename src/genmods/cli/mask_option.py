"""The option `--mask`: the pixels to inpaint."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from genmods.cli.mask_file import read_mask_file
from genmods.core import random
from genmods.core.errors import UserError
from genmods.data.walk import suffixes
from genmods.restoration.operators import BoxMask, RandomMask

FORMS = "a file (white = fill), a folder of them, box:x,y,width,height, or random:fraction"


def parse_hole(
    text: str, height: int, width: int, seed: int = 0, index: int = 0, name: Path | None = None, invert: bool = False
) -> Tensor:
    """The pixels to fill given by `--mask`.

    Args:
        text: A file whose white pixels are filled, a folder with such a file of each image's name,
            `box:x,y,width,height`, or `random:fraction`.
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        seed: Seed of random masks.
        index: Number of the image.
        name: The image's file, for a folder of masks.
        invert: Fill the other pixels instead.

    Returns:
        bool [height, width], true for pixels to fill.

    Raises:
        UserError: For any other form, a mask file of another size or mode, and an empty or full mask.
    """
    mask = read_mask(text, int(random.fold(seed, index)))
    try:
        hole = _from_file(_file(mask, name), height, width) if isinstance(mask, Path) else mask.hole(height, width)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"--mask {text}: {error}") from None
    return _checked(text, ~hole if invert else hole)


def _checked(text: str, hole: Tensor) -> Tensor:
    """`hole` (bool); raises UserError if no pixel, or every one, is to be filled."""
    if not hole.any():
        raise UserError(f"--mask {text}: the mask is empty, no pixel to inpaint")
    if hole.all():
        raise UserError(f"--mask {text}: the mask covers the whole image; use `generate` to sample new images")
    return hole


def read_mask(text: str, key: int = 0) -> BoxMask | RandomMask | Path:
    """Parse `--mask` without an image; `key` is the key of a random mask.

    Raises UserError for any other form and for a missing file.
    """
    form, _, rest = text.partition(":")
    try:
        if form == "box":
            return BoxMask(*(int(n) for n in _numbers(text, rest, 4)))
        if form == "random":
            return RandomMask(_numbers(text, rest, 1)[0], key)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"--mask {text}: {error}") from None
    if not Path(text).exists():
        raise UserError(f"--mask {text}: no such file; expected {FORMS}")
    return Path(text)


def _file(mask: Path, name: Path | None) -> Path:
    """The mask file of an image: `mask`, or the file with the image's name if that is a folder."""
    if not mask.is_dir() or name is None:
        return mask
    read = suffixes()
    found = sorted(path for path in mask.iterdir() if path.stem == name.stem and path.suffix.lower() in read)
    if not found:
        raise UserError(f"--mask {mask}: there is no mask called {name.stem} in this folder")
    chosen = [path for path in found if path.name == name.name] or found
    if len(chosen) > 1:
        raise UserError(f"--mask {mask}: must have one mask called {name.stem}, got {chosen[0].name}, {chosen[1].name}")
    return chosen[0]


def notes(text: str, invert: bool = False) -> list[str]:
    """Notes on a mask file, read before the model is loaded.

    Raises UserError if it is not an image, or fills no pixel or all of them.
    """
    mask = read_mask(text)
    if not (isinstance(mask, Path) and mask.is_file()):
        return []
    hole, found = read_mask_file(mask)
    _checked(text, torch.from_numpy(hole) != invert)
    return found


def _numbers(text: str, rest: str, count: int) -> list[float]:
    try:
        values = [float(n) for n in rest.split(",")]
    except ValueError:
        values = []
    if len(values) != count or (count == 4 and any(v != int(v) for v in values)):
        raise UserError(f"--mask: expected {FORMS}, got {text}")
    return values


def _from_file(path: Path, height: int, width: int) -> Tensor:
    pixels, _ = read_mask_file(path)
    if pixels.shape != (height, width):
        size = f"{pixels.shape[1]} x {pixels.shape[0]}"
        raise UserError(f"--mask {path}: must have the size of the image, {width} x {height} pixels, got {size}")
    return torch.from_numpy(pixels)
