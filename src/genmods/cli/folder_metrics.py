"""`genmods evaluate --samples DIR --reference DIR`: metrics of a folder of images against another one."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from genmods.cli.model_options import named_features
from genmods.core.errors import UserError
from genmods.core.printable import counted

if TYPE_CHECKING:
    from genmods.core.progress import Progress
    from genmods.data.decoding import Decoded
    from genmods.data.preparation import Preparation
    from genmods.metrics.base import Compute, EvaluationData


def read(options: argparse.Namespace) -> tuple[Decoded, Decoded]:
    """The images of both folders; those of the reference are prepared like the samples.

    Raises UserError for broken files, and if the sizes of the samples differ and `--image_size` is not set.
    """
    from genmods.data.preparation import Preparation

    size = options.image_size
    if size is not None and size < 1:
        raise UserError(f"--image_size must be at least 1, got {size}")
    samples = _images(options.samples, Preparation(None if size is None else (size, size)), "--samples")
    return samples, _images(options.reference, samples.preparation, "--reference")


def _images(folder: str, wish: Preparation, option: str) -> Decoded:
    from genmods.data.decoding import stored_files
    from genmods.data.walk import find_images

    if not Path(folder).is_dir():
        raise UserError(f"{option}: there is no folder {folder}")
    try:
        found = stored_files(find_images([folder]), wish)
    except UserError as error:
        raise UserError(str(error).replace("data.image_size", "--image_size")) from None
    if found.broken:
        total = counted(len(found.good), "image")
        raise UserError(f"{option}: {len(found.broken):,} of {total} cannot be read:", *found.broken)
    return found


def gather(
    options: argparse.Namespace, progress: Progress, compute: Compute, say: Callable[[str], None]
) -> EvaluationData:
    """The samples as if a model had generated them, and the reference as training images."""
    from genmods.metrics.base import EvaluationData
    from genmods.metrics.features import as_float

    samples, reference = read(options)
    levels = samples.preparation.levels or 256
    count, shape = len(samples.pixels), samples.pixels.shape[1:]
    sides = " x ".join(map(str, reversed(shape[1:])))
    say(
        f"{counted(count, 'sample')}, {counted(len(reference.pixels), 'image')} of reference, {sides} pixels, "
        f"{counted(shape[0], 'channel')}"
    )
    return EvaluationData(
        train=reference.pixels,
        generate=lambda n: as_float(samples.pixels[:], levels)[:n],
        features=named_features(options.features, tuple(shape)) if options.features else None,
        progress=progress,
        n=count,
        levels=levels,
        seed=options.seed,
        compute=compute,
    )
