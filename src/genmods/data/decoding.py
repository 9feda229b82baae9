"""Decodes many image files of any sizes and modes into one uint8 tensor, with threads.

Headers are read first to determine channels and size, then pixels. Errors of unreadable files are collected.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from genmods.core.errors import UserError
from genmods.data.allocation import allocate
from genmods.data.files import decode, open_image, plain_mode

MAX_PIXELS = 80_000_000
"""The most pixels of an image that is not part of a data set."""


class Decoded(NamedTuple):
    """`pixels` uint8 [N, C, H, W]; `good` bool [N], false for unreadable files; `broken`: one line for each of them."""

    pixels: Tensor
    good: Tensor
    broken: list[str]


def decode_files(
    paths: list[Path], side: int | None, channels: int | None, background: str, max_pixels: int
) -> Decoded:
    """Decode image files, resized and centre-cropped to `side` (None: all images must be squares of one size).

    `channels` None means 1 if all images are grey, otherwise 3. Transparent pixels show `background`; 16-bit values are
    converted to 8 bits. Raises UserError if `side` is None and sizes differ.
    """
    with warnings.catch_warnings(), ThreadPoolExecutor(min(32, os.cpu_count() or 1)) as pool:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        headers = _progress(pool.map(_attempt(lambda p: _header(p, max_pixels)), paths), len(paths), "looking at")
        known = [
            (path, header) for path, header in zip(paths, headers, strict=True) if not isinstance(header, UserError)
        ]
        if channels is None:
            channels = 3 if any(header[0].startswith("RGB") for _, header in known) else 1
        pixels = allocate((len(paths), channels, *((side, side) if side else _common_size(known))))

        def fill(place: int) -> None:
            if isinstance(headers[place], UserError):
                raise headers[place]
            _decode(paths[place], pixels[place], background, max_pixels)

        results = _progress(pool.map(_attempt(fill), range(len(paths))), len(paths), "reading")
    good = torch.tensor([result is None for result in results], dtype=torch.bool)
    return Decoded(pixels, good, [str(result) for result in results if result is not None])


def _attempt(act: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`act`, with a UserError returned instead of raised."""

    def attempt(item: Any) -> Any:
        try:
            return act(item)
        except UserError as error:
            return error

    return attempt


def _progress(results: Iterable[Any], total: int, verb: str) -> list[Any]:
    """All results, with a progress bar on a terminal if there are many."""
    from rich.console import Console
    from rich.progress import track

    title = f"{verb} {total:,} images"
    return list(track(results, title, total, console=Console(stderr=True), transient=True, disable=total < 1000))


def _header(path: Path, max_pixels: int) -> tuple[str, tuple[int, int]]:
    """(mode, (height, width)) of an image as stored in the file, before its EXIF orientation is applied."""
    with open_image(path, max_pixels) as image:
        return plain_mode(image), (image.height, image.width)


def _common_size(known: list[tuple[Path, Any]]) -> tuple[int, int]:
    for path, (_, size) in known:
        if size != known[0][1][1] or size[0] != size[1]:
            raise UserError(
                f"{path}: has {size[1]} x {size[0]} pixels; images that are not squares of one size need the side "
                "to bring them to: set data.image_size"
            )
    return known[0][1][1] if known else (1, 1)


def _decode(path: Path, row: Tensor, background: str, max_pixels: int) -> None:
    """Fill `row`, uint8 [C, H, W], with the image in a file."""
    _, height, width = row.shape
    with open_image(path, max_pixels) as opened:
        opened.draft(None, (2 * width, 2 * height))  # decode a JPEG at a fraction of its size if sufficient
        image = decode(opened, path)
    _fill(image, row, background)


def prepared(image: Any, shape: tuple[int, int, int]) -> Tensor:
    """An image brought to `shape` [C, H, W] as the files of a folder are for training, uint8.

    Args:
        image: A file, a PIL image, or an array uint8 [H, W] or [H, W, C].
        shape: [C, H, W].

    Raises:
        UserError: It is not such an image.
    """
    row = torch.empty(shape, dtype=torch.uint8)
    if isinstance(image, str | os.PathLike):
        _decode(Path(image), row, "white", MAX_PIXELS)
        return row
    if not isinstance(image, Image.Image):
        array = np.asarray(image)
        if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
            got = f"{array.dtype} {list(array.shape)}"
            raise UserError(f"an image must be a file, a PIL image or an array uint8 [H, W] or [H, W, C], got {got}")
        image = Image.fromarray(array[..., 0] if array.shape[2:] == (1,) else array)
    _fill(decode(image, "image"), row, "white")
    return row


def _fill(image: Image.Image, row: Tensor, background: str) -> None:
    """Fill `row`, uint8 [C, H, W], with a decoded image."""
    channels, height, width = row.shape
    if image.mode == "I;16":
        image = Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8))
    if image.mode in ("LA", "RGBA"):
        whole = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", whole.size, background), whole)
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    row.copy_(torch.from_numpy(np.array(image)).view(height, width, channels).permute(2, 0, 1))
