"""Inpainting: which pixels to fill, and filling them while the others come back bit by bit."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from genmods.core import random
from genmods.core.errors import UserError
from genmods.restoration.operators import BoxMask, RandomMask

FORMS = "a file (white = fill), box:x,y,width,height, or random:fraction"


def parse_hole(text: str, height: int, width: int, seed: int = 0, index: int = 0) -> Tensor:
    """The pixels to fill, bool [height, width], of `--mask` for image number `index`.

    `text` is a file whose white pixels are filled, `box:x,y,width,height`, or `random:fraction`. Raises UserError for
    another form, a mask file of another size or mode, and a mask that fills nothing or everything.
    """
    mask = read_mask(text, int(random.fold(seed, index)))
    try:
        hole = _from_file(mask, height, width) if isinstance(mask, Path) else mask.hole(height, width)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"--mask {text}: {error}") from None
    if not hole.any():
        raise UserError(f"--mask {text}: it fills nothing, every pixel is known")
    if hole.all():
        raise UserError(f"--mask {text}: it fills everything, no pixel is known; `generate` makes images from nothing")
    return hole


def read_mask(text: str, key: int = 0) -> BoxMask | RandomMask | Path:
    """What `--mask` says, before there is an image that it must fit; `key` is the seed of a random one.

    Raises UserError for another form and a file that is not there.
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
    if not Path(text).is_file():
        raise UserError(f"--mask {text}: there is no such file; a mask is {FORMS}")
    return Path(text)


def _numbers(text: str, rest: str, count: int) -> list[float]:
    try:
        values = [float(n) for n in rest.split(",")]
    except ValueError:
        values = []
    if len(values) != count or (count == 4 and any(v != int(v) for v in values)):
        raise UserError(f"--mask {text}: a mask is {FORMS}")
    return values


def _from_file(path: Path, height: int, width: int) -> Tensor:
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if image.mode not in ("1", "L", "RGB"):
                raise UserError(
                    f"--mask {path}: its mode is {image.mode}; a mask is black and white, of mode 1, L or RGB"
                )
            pixels = np.array(image.convert("L"))
    except (UnidentifiedImageError, OSError) as error:
        raise UserError(f"--mask {path}: it cannot be read as an image ({error})") from None
    if pixels.shape != (height, width):
        size = f"{pixels.shape[1]} x {pixels.shape[0]}"
        raise UserError(f"--mask {path}: it is {size} pixels (width x height), and the image {width} x {height}")
    return torch.from_numpy(pixels >= 128)
