"""Decoding of many image files of any size and kind into one tensor: first the headers, then the pixels, in threads.

The headers determine channels, size and depth of the tensor; unreadable files are collected, not raised.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from genmods.core.errors import UserError
from genmods.data.allocation import allocate
from genmods.data.files import naming, open_image
from genmods.data.formats.pillow import PillowFile
from genmods.data.formats.raster import Raster, quiet_decoders, white_of
from genmods.data.preparation import Preparation, Range

_DEEP = 65536


class Decoded(NamedTuple):
    """Decoded files.

    Attributes:
        pixels: uint8, or uint16 for more than 256 levels, [N, C, H, W].
        good: bool [N], false if a file could not be read.
        broken: One line per unreadable file.
        preparation: The complete preparation that was used.
        notes: Messages about unexpected properties of the files.
    """

    pixels: Tensor
    good: Tensor
    broken: list[str]
    preparation: Preparation
    notes: list[str]


class _Header(NamedTuple):
    """What is known of a file before decoding; `least` and `most` for values without a defined white."""

    size: tuple[int, int]
    channels: int
    color: int
    white: float | None
    whole: bool
    pages: int
    least: float = 0.0
    most: float = 0.0


def decode_files(paths: list[Path], wish: Preparation) -> Decoded:
    """Decodes files, prepared as in `wish`, with its open settings determined by the files.

    Raises:
        UserError: If sizes or numbers of channels differ and `wish` leaves them open.
    """
    with quiet_decoders(), ThreadPoolExecutor(min(32, os.cpu_count() or 1)) as pool:
        look = _attempt(lambda path: _header(path, wish))
        headers = _progress(pool.map(look, paths), len(paths), "reading headers of")
        known = {path: header for path, header in zip(paths, headers, strict=True) if isinstance(header, _Header)}
        settled = _settled(wish, known)
        assert settled.size is not None and settled.channels is not None and settled.levels is not None
        dtype = torch.uint8 if settled.levels <= 256 else torch.uint16
        pixels = allocate((len(paths), settled.channels, *settled.size), dtype)

        def fill(place: int) -> Range:
            if isinstance(headers[place], UserError):
                raise headers[place]
            return _fill(paths[place], pixels[place].numpy(), settled, wish.channels)

        results = _progress(pool.map(_attempt(fill), range(len(paths))), len(paths), "reading")
    good = torch.tensor([not isinstance(result, UserError) for result in results], dtype=torch.bool)
    broken = [str(result) for result in results if isinstance(result, UserError)]
    spans = [result for result in results if not isinstance(result, UserError)]
    used, notes = _range_in_use(wish, settled, known, spans)
    if used.levels is not None and used.levels < settled.levels:  # cubic interpolation overshoots
        np.minimum(values := pixels.numpy(), used.levels - 1, out=values)
    pages = sum(header.pages > 1 for header in known.values())
    notes += [f"{pages:,} file{'s' * (pages != 1)} with several pages: the first is read"] * (pages > 0)
    return Decoded(pixels, good, broken, used, notes)


def _attempt(act: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`act`, which returns a UserError instead of raising it."""

    def attempt(item: Any) -> Any:
        try:
            return act(item)
        except UserError as error:
            return error

    return attempt


def _progress(results: Iterable[Any], total: int, verb: str) -> list[Any]:
    """All results, with a progress bar in a terminal if there are many."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    if total < 1000 or not console.is_terminal:  # to a file, a bar would write an empty line
        return list(results)
    return list(track(results, f"{verb} {total:,} images", total, console=console, transient=True))


def _header(path: Path, wish: Preparation) -> _Header:
    with naming(path):
        file = open_image(path, wish.max_pixels, wish.channels)
        channels = file.channels + (file.alpha and file.channels + 1 == wish.channels)
        found = _Header(file.size, channels, file.color, file.white, file.whole, file.pages)
        if file.white is None and wish.range is None:
            values = file.read().values
            if not np.isfinite(values).all():
                raise ValueError("has values that are not finite")
            found = found._replace(least=float(values.min()), most=float(values.max()))
        return found


def _settled(wish: Preparation, known: dict[Path, _Header]) -> Preparation:
    """`wish` with its open settings determined by the files."""
    channels, value_range, levels = wish.channels, wish.range, wish.levels
    headers = list(known.values())
    if channels is None:
        channels = _common_channels(known)
    bare = [header for header in headers if header.white is None]
    if value_range is None and bare:
        least, most = min(header.least for header in bare), max(header.most for header in bare)
        value_range = (0.0, 1.0) if least >= 0 and most <= 1 else (least, most) if least < most else (least, least + 1)
    if levels is None:
        deep = bool(bare) or any(header.white is not None and header.white > 255 for header in headers)
        levels = _DEEP if deep else 256
        if wish.range is not None and not deep and wish.range[1] > 255:
            raise UserError(f"data.range must be at most 255 for 8-bit images, got {list(wish.range)}")
        whole = all(header.whole for header in headers)
        if value_range is not None and whole and all(end == int(end) for end in value_range):
            levels = min(levels, int(value_range[1] - value_range[0]) + 1)
    return replace(wish, size=wish.size or _common_size(known), channels=channels, range=value_range, levels=levels)


def _common_channels(known: dict[Path, _Header]) -> int:
    """1 if all files are grey, 3 if all are grey or RGB, otherwise the number that all have."""
    counts = {header.channels for header in known.values()}
    if len(counts) == 1:
        return counts.pop()
    path, odd = next(((path, header) for path, header in known.items() if header.color == 0), (None, None))
    if odd is not None:
        other = next(header.channels for header in known.values() if header.channels != odd.channels)
        raise UserError(f"{path}: has {odd.channels} channels, and other images have {other}; set data.channels")
    return 3 if known else 1


def _common_size(known: dict[Path, _Header]) -> tuple[int, int]:
    headers = list(known.items())
    for path, header in headers:
        if header.size != headers[0][1].size:
            (height, width), (h, w) = header.size, headers[0][1].size
            raise UserError(
                f"{path}: has {width} x {height} pixels (width x height), but {headers[0][0].name} has {w} x {h}; "
                "set data.image_size to resize images of different sizes"
            )
    return headers[0][1].size if headers else (1, 1)


def _fill(path: Path, row: np.ndarray, preparation: Preparation, channels: int | None) -> Range:
    """Fills `row` [C, H, W] with the image of a file; returns its smallest and largest value."""
    with naming(path):
        height, width = row.shape[1:]
        raster = open_image(path, preparation.max_pixels, channels).read((2 * height, 2 * width))
        row[:] = preparation.pixels(raster)
        values = raster.values
        return (0.0, float(row.max())) if values.dtype == np.uint8 else (float(values.min()), float(values.max()))


def prepared(image: Any, preparation: Preparation) -> Tensor:
    """An image prepared like the training images, float32 [C, H, W] in [-1, 1].

    Args:
        image: A file, a PIL image, or an array uint8 or uint16 [H, W] or [H, W, C].
        preparation: The preparation stored in a checkpoint.

    Raises:
        UserError: If it is not such an image.
    """
    assert preparation.levels is not None
    with quiet_decoders(), naming(Path(image) if isinstance(image, str | os.PathLike) else "image"):
        if isinstance(image, str | os.PathLike):
            raster = open_image(Path(image), preparation.max_pixels, preparation.channels).read(
                preparation.size and (2 * preparation.size[0], 2 * preparation.size[1])
            )
        elif isinstance(image, Image.Image):
            raster = PillowFile(Path("image"), image.copy()).read()
        else:
            array = np.asarray(image)
            if array.dtype not in (np.uint8, np.uint16) or array.ndim not in (2, 3):
                got = f"{array.dtype} {list(array.shape)}"
                raise UserError(
                    f"an image must be a file, a PIL image or an array uint8 [H, W] or [H, W, C], got {got}"
                )
            array = array.reshape(*array.shape[:2], -1)
            alpha = array[:, :, 3] if array.shape[2] == 4 else None
            values = array[:, :, :3] if alpha is not None else array
            color = values.shape[2] if values.shape[2] in (1, 3) else 0
            raster = Raster(values, white_of(array.dtype), alpha, color)
        pixels = np.ascontiguousarray(preparation.pixels(raster), dtype=np.float32)
    return torch.from_numpy(pixels).div_((preparation.levels - 1) / 2).sub_(1)


def _range_in_use(
    wish: Preparation, done: Preparation, known: dict[Path, _Header], spans: list[Range]
) -> tuple[Preparation, list[str]]:
    """The preparation with the range of the data set if that is less than an eighth of 16 bits, and messages about
    it."""
    if not spans:
        return done, []
    assert done.levels is not None
    least, most = min(span[0] for span in spans), max(span[1] for span in spans)
    if wish.range is not None:
        low, high = wish.range
        beyond = least < low or most > high
        line = f"values from {least:g} to {most:g} are clipped to the range {low:g} to {high:g}"
        return done, [line] if beyond and done.levels > 256 else []
    if done.range is not None:
        low, high = done.range
        line = f"values from {least:g} to {most:g} without a defined white: {low:g} is black and {high:g} is white"
        return done, [f"{line}; set data.range to change this"]
    whites = {header.white for header in known.values()}
    if wish.levels is None and whites == {_DEEP - 1.0} and most < _DEEP / 8:
        top = 2 ** max(8, int(most).bit_length()) - 1
        line = f"16-bit images with values up to {most:,.0f} of 65,535: {top:,} is white; set data.range to change this"
        return replace(done, range=(0.0, float(top)), levels=top + 1), [line]
    if done.levels == 256 and 0 < most < 32 and wish.levels is None:
        return done, [f"images use values up to {most:.0f} of 255 only; data.range: [0, {most:.0f}] rescales them"]
    return done, []
