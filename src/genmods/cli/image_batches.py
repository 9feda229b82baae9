"""Restoration of image files: read, group by size, restore, write; unreadable files are reported and skipped.

OUT/NAME.png                 the result, in the mode, bit depth and size of the input, lossless; TIFF stays TIFF
OUT/samples/NAME_K.png       posterior sample number K, if there are several
OUT/uncertainty/NAME.png     the standard deviation of the samples per pixel (white: 0.5 on the scale of [-1, 1])
OUT/strips/NAME.png          input, result, uncertainty and truth side by side, large ones reduced
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from genmods.core.errors import UserError
from genmods.core.progress import Progress
from genmods.data.files import Picture, read_image, write_image
from genmods.data.preparation import Range
from genmods.data.walk import find_images

T = TypeVar("T")
LOSSLESS = (".png", ".tif", ".tiff")


@dataclass
class Restored:
    """A restored batch: results [B, C, H, W], inputs as shown in the strips, posterior samples [K, B, C, H, W], and the
    level of white noise that was found in each image [B], on the scale of [-1, 1]."""

    image: Tensor
    shown: Tensor
    samples: Tensor | None = None
    sigma: Tensor | None = None


@dataclass
class Item:
    """An input file: its number, its path, its path under OUT, its picture and, if given, the ground truth."""

    index: int
    path: Path
    name: Path
    picture: Picture
    truth: Tensor | None = None


RestoreBatch = Callable[[Tensor, Tensor, list[Path], Progress], Restored]
"""(images [B, C, H, W], image numbers int64 [B], their files, progress) -> Restored."""

STRIP_HEIGHT = 1024
"""The approximate largest side of the images in a strip, in pixels."""

BATCH_PIXELS = 1_000_000
"""The largest number of pixels of a batch with more than one image."""


def names(inputs: list[Path], out: Path) -> dict[Path, Path]:
    """The output file under `out` for each input image; raises UserError if it would overwrite an input."""
    found = {path: root for root in inputs for path in find_images([root])}
    originals = {path.resolve() for path in found}
    for place in (out / "samples", out / "uncertainty", out / "strips"):
        if inside := [path for path in found if path.resolve().is_relative_to(place.resolve())]:
            raise UserError(f"--out {out} might overwrite the input {inside[0]}")
    result: dict[Path, Path] = {}
    taken: set[Path] = set()
    for path, root in found.items():
        relative = path.relative_to(root) if root.is_dir() else Path(path.name)
        name = relative if relative.suffix.lower() in LOSSLESS else relative.with_suffix(".png")
        while name in taken:
            name = relative = relative.with_name(relative.name + ".png")
        if (out / name).resolve() in originals:
            raise UserError(f"--out {out} would overwrite the input {out / name}")
        taken.add(name)
        result[path] = name
    for name in taken:
        if Path("strips") / name in taken:
            raise UserError(f"--out {out}: {Path('strips') / name} is both an image and a strip; exclude strips/")
    return result


def truth_of(folder: Path, path: Path) -> Path:
    """The file in `folder` with the name of `path`, preferably with the same suffix."""
    alike = [found for found in folder.glob(f"{glob.escape(path.stem)}.*") if found.stem == path.stem]
    if not alike:
        raise UserError(f"{folder / path.name}: no ground truth for this image")
    return min(alike, key=lambda found: (found.suffix != path.suffix, found.name))


def batches(
    paths: dict[Path, Path],
    truth: Path | None,
    batch_size: int,
    bad: list[str],
    value_range: Range | None = None,
    done: Collection[str] = (),
) -> Iterator[list[Item]]:
    """Batches of at most `batch_size` items, and `BATCH_PIXELS`, of one shape, without the names in `done`.

    One line per unreadable file is appended to `bad`.
    """
    waiting: dict[torch.Size, list[Item]] = {}
    for index, (path, name) in enumerate(paths.items()):
        if str(name) in done:
            continue
        try:
            item = Item(index, path, name, read_image(path, value_range))
            if truth is not None:
                item.truth = read_image(truth_of(truth / name.parent, path), value_range).image
        except UserError as error:
            bad.append(str(error))
            continue
        shape = item.picture.image.shape
        waiting.setdefault(shape, []).append(item)
        if len(waiting[shape]) >= min(batch_size, max(1, BATCH_PIXELS // (shape[1] * shape[2]))):
            yield waiting.pop(shape)
    yield from waiting.values()


def restore_files(
    todo: Iterable[list[Item]],
    out: Path,
    restorer: RestoreBatch,
    score: Callable[[Item, Restored, int], T],
    bad: list[str],
    progress: Callable[[list[int]], Progress],
) -> Iterator[dict[str, T]]:
    """Restore batches into the folder `out`.

    Args:
        todo: The batches.
        out: The folder.
        restorer: Restores a batch.
        score: Computes the scores of an image from its batch and row.
        bad: Receives one line for each file that failed.
        progress: The callback for the progress within a batch of these image numbers.

    Yields:
        The scores by name, of each batch when all its files are written.
    """
    for items in todo:
        scores: dict[str, T] = {}
        try:
            images = [item.picture.image for item in items]
            batch = torch.stack(images) if len(images) > 1 else images[0][None]
            numbers = [item.index for item in items]
            restored = restorer(batch, torch.tensor(numbers), [item.path for item in items], progress(numbers))
        except ValueError as error:
            bad += [f"{item.path}: {error}" for item in items]
            continue
        for row, item in enumerate(items):
            try:
                _write(out, item, restored, row)
                scores[str(item.name)] = score(item, restored, row)
            except ValueError as error:
                bad.append(f"{item.path}: {error}")
        yield scores


def _write(out: Path, item: Item, restored: Restored, row: int) -> None:
    image = restored.image[row].cpu()
    write_image(out / item.name, _like(item.picture, image))
    panels = [restored.shown[row].cpu(), image]
    if restored.samples is not None and len(restored.samples) > 1:
        draws = restored.samples[:, row].cpu()
        for k, draw in enumerate(draws, start=1):
            place = out / "samples" / item.name.with_stem(f"{item.name.stem}_{k}")
            write_image(place, _like(item.picture, draw))
        spread = (draws.std(0).mean(0, keepdim=True) * 4 - 1).clamp(max=1)
        write_image(out / "uncertainty" / item.name, Picture(spread))
        panels.append(spread)
    if item.truth is not None:
        panels.append(item.truth)
    write_image(out / "strips" / item.name, Picture(side_by_side(panels)))


def _like(picture: Picture, image: Tensor) -> Picture:
    """`image` with the bit depth and EXIF data of `picture`, its alpha in the size of `image`, its colour profile if
    the mode agrees."""
    alpha, size = picture.alpha, image.shape[1:]
    if alpha is not None and alpha.shape[1:] != size:
        alpha = F.interpolate(alpha[None], size, mode="bilinear")[0]
    icc = picture.icc if len(image) == len(picture.image) else None
    return Picture(image, alpha, picture.bits, icc, picture.ends, picture.exif)


def side_by_side(panels: list[Tensor], gap: int = 2) -> Tensor:
    """Images [C, h, w] in a row, enlarged by integer factors to similar heights and reduced to at most about
    `STRIP_HEIGHT`, separated by white gaps.

    Only the first channel of images with neither 1 nor 3 channels is shown.
    """
    panels = [_shown(panel if len(panel) in (1, 3) else panel[:1]) for panel in panels]
    channels, height = max(len(p) for p in panels), max(p.shape[1] for p in panels)
    strips: list[Tensor] = []
    for panel in panels:
        factor = max(1, height // panel.shape[1])
        large = panel.expand(channels, -1, -1).repeat_interleave(factor, 1).repeat_interleave(factor, 2)
        column = torch.ones(channels, height, large.shape[2] + gap)
        column[:, : large.shape[1], : large.shape[2]] = large
        strips.append(column)
    return torch.cat(strips, dim=2)[:, :, :-gap]


def _shown(panel: Tensor) -> Tensor:
    """A panel [C, h, w] as it is shown: averaged over squares if it is large."""
    factor = max(1, round(max(panel.shape[1:]) / STRIP_HEIGHT))
    return panel if factor == 1 else F.avg_pool2d(panel[None], factor, ceil_mode=True)[0]
