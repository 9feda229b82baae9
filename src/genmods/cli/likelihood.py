"""`genmods likelihood`: bits per dimension of image files, and the bits of each pixel as maps."""

from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmods.cli import model_options
from genmods.cli.files import folder, readable
from genmods.cli.look import unique
from genmods.cli.progress import ProgressBar
from genmods.cli.unfinished import fingerprint, unfinished
from genmods.core.errors import UserError
from genmods.core.printable import cell, say

if TYPE_CHECKING:
    from genmods.data.preparation import Preparation
    from genmods.models import DiffusionLikelihood


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    model_options.checkpoint(parser)
    add("--input", required=True, nargs="+", type=Path, metavar="PATH", help="image files and folders of them")
    add("--out", required=True, type=folder, metavar="DIR", help="output folder of bits.csv and maps")
    add("--times", type=int, default=64, metavar="N", help="noise levels per image, one network call each (default 64)")
    add("--batch_size", type=int, default=64, help="batch size (default 64)")
    add("--quiet", action="store_true", help="no progress bar")
    model_options.arguments(parser)


def run(options: argparse.Namespace) -> None:
    for name in ("times", "batch_size"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name} must be at least 1, got {getattr(options, name)}")
    import torch

    from genmods.core.atomic import replacing
    from genmods.data.walk import find_images
    from genmods.visual.bits import bits_map
    from genmods.visual.style import save

    paths = find_images(options.input)
    likelihood, preparation = _model(options)
    broken: list[str] = []
    names = dict(zip(map(str, paths), unique(list(map(str, paths))), strict=True))
    table = options.out / "bits.csv"
    depends = {**model_options.dependencies(options, "out", "quiet"), "files": fingerprint(paths)}
    with unfinished(table, depends) as work, ProgressBar(options.quiet, "measuring") as bar:
        for numbers in torch.arange(len(paths)).split(options.batch_size):
            todo = [(number, paths[number]) for number in numbers.tolist() if str(paths[number]) not in work.done]
            given = {str(path): number for number, path in todo}
            found, images = readable([path for _, path in todo], preparation, broken) if todo else ([], [])
            if found:
                indices = torch.tensor([given[path] for path in found])
                bits = likelihood.map(torch.stack(images), indices, options.times).cpu()
                for path, image, values in zip(found, images, bits, strict=True):
                    save(bits_map(image, values), options.out / "maps" / f"{names[path]}.png")
                work.add(zip(found, bits.flatten(1).mean(1).tolist(), strict=True))
            bar(int(numbers[-1]) + 1, len(paths))
        rows = list(work.rows())
        with replacing(table) as staged, staged.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["image", "bits_per_dim"])
            writer.writerows([cell(name), f"{bits:.4f}"] for name, bits in rows)
    if rows:
        mean = sum(bits for _, bits in rows) / len(rows)
        say(f"{mean:.3f} bits per dimension, the mean of {len(rows)}; maps in {options.out / 'maps'}")
    if broken:
        raise UserError(*broken)


def _model(options: argparse.Namespace) -> tuple[DiffusionLikelihood, Preparation]:
    """The likelihood of the model, on its device, and how it takes image files."""
    from genmods.data.preparation import Preparation
    from genmods.models import DiffusionLikelihood, HasLikelihood
    from genmods.runs import folders

    model: Any = folders.load(options.ckpt_path)
    if not isinstance(model, HasLikelihood) or not isinstance(model.likelihood(), DiffusionLikelihood):
        raise UserError(f"--ckpt_path {options.ckpt_path}: expected a diffusion model of pixels with a likelihood")
    placed: Any = model_options.placed(model, options)
    preparation = placed.preparation or Preparation.of_shape(placed.image_shape)
    if preparation is None:
        raise UserError(f"--ckpt_path {options.ckpt_path}: expected a model of images")
    likelihood = placed.likelihood()
    return likelihood, replace(preparation, levels=likelihood.levels)
