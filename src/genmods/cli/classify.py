"""`genmods classify`: the classes of image files, with probabilities, as CSV."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from genmods.cli import model_options
from genmods.cli.files import readable
from genmods.cli.progress import ProgressBar
from genmods.cli.unfinished import fingerprint, unfinished
from genmods.core.atomic import replacing
from genmods.core.errors import UserError
from genmods.core.printable import counted, say


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    model_options.checkpoint(parser)
    add("--input", required=True, nargs="+", type=Path, metavar="PATH", help="image files and folders of them")
    add("--out", type=Path, metavar="FILE.csv", help="output file (default: standard output)")
    add("--batch_size", type=int, default=256, help="batch size (default 256)")
    add("--quiet", action="store_true", help="no progress bar")
    model_options.arguments(parser)


def run(options: argparse.Namespace) -> None:
    if options.batch_size < 1:
        raise UserError(f"--batch_size must be at least 1, got {options.batch_size}")
    import torch

    from genmods.cli.tables import predictions
    from genmods.data.preparation import Preparation
    from genmods.data.walk import find_images
    from genmods.models import Denoises, DiffusionClassifier, Predicts
    from genmods.runs import folders

    model: Any = folders.load(options.ckpt_path)
    if isinstance(model, Denoises) and not isinstance(model, Predicts):
        try:
            model = DiffusionClassifier(model)
        except UserError as error:
            raise UserError(f"--ckpt_path {options.ckpt_path}: {error}") from None
    if not isinstance(model, Predicts):
        raise UserError(f"--ckpt_path {options.ckpt_path}: expected a classifier, got {type(model).__name__}")
    model = model_options.placed(model, options)
    paths = find_images(options.input)
    preparation = model.preparation or Preparation.of_shape(model.image_shape)
    broken: list[str] = []
    depends = {**model_options.dependencies(options, "out", "quiet"), "files": fingerprint(paths)}
    with unfinished(options.out, depends) as work, ProgressBar(options.quiet, "classifying") as bar:
        for start in range(0, len(paths), options.batch_size):
            some = [path for path in paths[start : start + options.batch_size] if str(path) not in work.done]
            names, images = readable(some, preparation, broken) if some else ([], [])
            if names:
                work.add(zip(names, model.predictions(torch.stack(images).to(model.device)).tolist(), strict=True))
            bar(min(start + options.batch_size, len(paths)), len(paths))
        if options.out is None:
            predictions(work.rows(), sys.stdout, model)
        else:
            with replacing(options.out) as staged, staged.open("w", encoding="utf-8", newline="") as file:
                predictions(work.rows(), file, model)
            say(f"{counted(len(work.done), 'image')} classified in {options.out}")
    if broken:
        raise UserError(*broken)
