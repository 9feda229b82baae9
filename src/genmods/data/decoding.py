"""Decoding of many image files of any size and kind: first the headers, then the pixels, in threads.

The headers determine channels, size and depth of the pixels; unreadable files are collected, not raised. What was
decoded before is read from the cache folder.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL
import torch
from PIL import Image
from PIL.ImageFile import ImageFile
from torch import Tensor

from genmods.core.errors import UserError
from genmods.core.printable import counted
from genmods.data.files import naming, open_image
from genmods.data.formats.pillow import PillowFile
from genmods.data.formats.raster import Raster, quiet_decoders, white_of
from genmods.data.kept.files import Examined, FileTable, Header, examine, stamp
from genmods.data.kept.folder import ImageCache
from genmods.data.kept.packs import Pack, Packs
from genmods.data.kept.pixels import PixelRows, in_memory
from genmods.data.preparation import Preparation, Range
from genmods.data.reading import listed, readers

_DEEP = 65536
_FORMAT = f"3 {PIL.__version__}"
"""Changes when the same file and preparation result in other pixels."""


class Decoded(NamedTuple):
    """Decoded files.

    Attributes:
        pixels: uint8, or uint16 for more than 256 levels, [N, C, H, W]; arbitrary for files that could not be read.
        good: bool [N], false if a file could not be read.
        broken: One line per unreadable file.
        preparation: The complete preparation that was used.
        notes: Messages about unexpected properties of the files.
    """

    pixels: PixelRows
    good: Tensor
    broken: list[str]
    preparation: Preparation
    notes: list[str]


def decode_files(paths: list[Path], wish: Preparation) -> Decoded:
    """Decodes files, prepared as in `wish`, into memory; nothing is kept. See `stored_files`."""
    found = stored_files(paths, wish, ImageCache(keeps=False))
    return found._replace(pixels=in_memory(found.pixels))


def stored_files(paths: list[Path], wish: Preparation, cache: ImageCache | None = None) -> Decoded:
    """The pixels of files, prepared as in `wish`, with its open settings determined by the files; decoded if the cache
    does not have them.

    Raises:
        UserError: If sizes or numbers of channels differ and `wish` leaves them open.
    """
    cache = cache or ImageCache()
    with quiet_decoders(), readers() as pool:
        table = FileTable(cache, paths, wish)
        files: dict[Path, Any] = {path: table.find(path) for path in paths}
        new = [path for path, found in files.items() if found is None]
        look = _attempt(lambda path: examine(path, wish))
        files |= zip(new, listed(pool.map(look, new), len(new), "reading headers of"), strict=True)
        good: dict[Path, Examined] = {path: one for path, one in files.items() if not isinstance(one, UserError)}
        table.keep(good)
        known = {path: one.header for path, one in good.items()}
        settled = _settled(wish, known)
        assert settled.size is not None and settled.channels is not None and settled.levels is not None
        dtype = np.uint8 if settled.levels <= 256 else np.uint16
        packs = Packs(cache, _key(settled, wish), (settled.channels, *settled.size), dtype, pool, listed)
        source = {one.digest: path for path, one in reversed(good.items())}

        def decode(digest: bytes, row: np.ndarray) -> tuple[Range, bool]:
            path = source[digest]
            with naming(path):
                span = _fill(path, row, settled, wish.channels)
                return span, stamp(path) == good[path].stamp

        pack = packs.get(list(dict.fromkeys(one.digest for one in good.values())), decode)
        scratch = np.empty((settled.channels, *settled.size), dtype)
        for path in [path for path, one in good.items() if one.digest not in pack.rows]:
            error = _attempt(lambda path: _fill(path, scratch, settled, wish.channels))(path)
            files[path] = error if isinstance(error, UserError) else UserError(f"{path}: changed while it was read")
    return _decoded(files, pack, wish, settled, known)


def _key(settled: Preparation, wish: Preparation) -> str:
    """The name of a preparation in the cache."""
    relevant = repr((_FORMAT, replace(settled, max_pixels=0), wish.channels))
    return hashlib.blake2b(relevant.encode(), digest_size=8).hexdigest()


def _decoded(
    files: dict[Path, Any], pack: Pack, wish: Preparation, settled: Preparation, known: dict[Path, Header]
) -> Decoded:
    """The images of a pack in the order of the files, each of which was examined or is broken (UserError)."""
    rows = [None if isinstance(one, UserError) else pack.rows[one.digest] for one in files.values()]
    good = torch.tensor([row is not None for row in rows], dtype=torch.bool)
    broken = [str(one) for one in files.values() if isinstance(one, UserError)]
    used, notes = _range_in_use(wish, settled, known, [row.span for row in rows if row])
    lower = used.levels is not None and settled.levels is not None and used.levels < settled.levels
    top = used.levels - 1 if lower and used.levels else None  # cubic interpolation overshoots
    pixels = pack.pixels.select(torch.tensor([row.number if row else 0 for row in rows], dtype=torch.int64), top)
    pages = sum(header.pages > 1 for header in known.values())
    notes += [f"{counted(pages, 'file')} with several pages: the first is read"] * (pages > 0)
    return Decoded(pixels, good, broken, used, notes)


def _attempt(act: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`act`, which returns a UserError instead of raising it."""

    def attempt(item: Any) -> Any:
        try:
            return act(item)
        except UserError as error:
            return error

    return attempt


def _settled(wish: Preparation, known: dict[Path, Header]) -> Preparation:
    """`wish` with its open settings determined by the files."""
    channels, value_range, levels = wish.channels, wish.range, wish.levels
    headers = list(known.values())
    if channels is None:
        channels = _common_channels(known)
    bare = [header for header in headers if header.white is None]
    if value_range is None and bare:
        _check_whites(known)
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


def _check_whites(known: dict[Path, Header]) -> None:
    """Raises UserError if only some of the files of more than 8 bits have a defined white: no range fits all."""
    deep = next((path for path, header in known.items() if header.white is not None and header.white > 255), None)
    if deep is not None:
        path = next(path for path, header in known.items() if header.white is None)
        raise UserError(f"{path}: has values without a defined white, unlike {deep.name}; set data.range")


def _common_channels(known: dict[Path, Header]) -> int:
    """1 if all files are grey, 3 if all are grey or RGB, otherwise the number that all have."""
    counts = {header.channels for header in known.values()}
    if len(counts) == 1:
        return counts.pop()
    path, odd = next(((path, header) for path, header in known.items() if header.color == 0), (None, None))
    if odd is not None:
        other = next(header.channels for header in known.values() if header.channels != odd.channels)
        raise UserError(
            f"{path}: has {counted(odd.channels, 'channel')}, and other images have {other}; set data.channels"
        )
    return 3 if known else 1


def _common_size(known: dict[Path, Header]) -> tuple[int, int]:
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
        image: A file, a PIL image, an array uint8 or uint16 [H, W] or [H, W, C], or such a tensor [H, W] or [C, H, W].
        preparation: The preparation stored in a checkpoint.

    Raises:
        UserError: If it is not such an image.
    """
    assert preparation.levels is not None
    image = _file_of(image) or image
    with quiet_decoders(), naming(Path(image) if isinstance(image, str | os.PathLike) else "image"):
        if isinstance(image, str | os.PathLike):
            raster = open_image(Path(image), preparation.max_pixels, preparation.channels).read(
                preparation.size and (2 * preparation.size[0], 2 * preparation.size[1])
            )
        elif isinstance(image, Image.Image):
            raster = PillowFile(Path("image"), image.copy()).read()
        else:
            raster = _of_array(image, preparation.channels)
        pixels = np.ascontiguousarray(preparation.pixels(raster), dtype=np.float32)
    return torch.from_numpy(pixels).div_((preparation.levels - 1) / 2).sub_(1)


def _file_of(image: Any) -> str | None:
    """The file of an image that was opened by Pillow and not decoded yet; Pillow reduces or misreads some formats."""
    if isinstance(image, ImageFile) and image.tile and image.tell() == 0 and os.path.isfile(image.filename):
        return os.fsdecode(image.filename)
    return None


def _of_array(image: Any, channels: int | None) -> Raster:
    """An array or tensor for a model of `channels`; a last channel that the model does not have is the opacity."""
    kind = "an image must be a file, a PIL image, an array uint8 [H, W] or [H, W, C], or a tensor uint8 [C, H, W]"
    if not isinstance(image, np.ndarray | Tensor):
        raise UserError(f"{kind}, got {type(image).__name__}")
    shape, array = list(image.shape), np.asarray(image.cpu() if isinstance(image, Tensor) else image)
    if isinstance(image, Tensor) and array.ndim == 3:
        array = array.transpose(1, 2, 0)
    array = array[:, :, None] if array.ndim == 2 else array
    if array.dtype not in (np.uint8, np.uint16) or array.ndim != 3 or not array.size:
        raise UserError(f"{kind}, got {array.dtype} {shape}")
    count = array.shape[2]
    has_alpha = count in (2, 4) and channels in (1, 3)
    if not has_alpha and count not in (1, 3, channels):
        raise UserError(f"an image must have {counted(channels or 0, 'channel')}, got shape {shape}")
    values, color = array[:, :, : count - has_alpha], count - has_alpha
    alpha = array[:, :, -1] if has_alpha else None
    return Raster(values, white_of(array.dtype), alpha, color if color in (1, 3) else 0)


def _range_in_use(
    wish: Preparation, done: Preparation, known: dict[Path, Header], spans: list[Range]
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
        bare = [header for header in known.values() if header.white is None]
        least, most = min(header.least for header in bare), max(header.most for header in bare)
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
