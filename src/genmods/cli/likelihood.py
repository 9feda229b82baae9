"""`genmods likelihood`: bits per dimension of image files, and the bits of each pixel as maps."""

from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

from genmods.cli import model_options
from genmods.cli.files import folder, readable
from genmods.cli.look import unique
from genmods.cli.progress import ProgressBar
from genmods.core.errors import UserError
from genmods.core.printable import cell, say


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
    from genmods.data.preparation import Preparation
    from genmods.data.walk import find_images
    from genmods.models import DiffusionLikelihood, HasLikelihood
    from genmods.runs import folders
    from genmods.visual.bits import bits_map

    paths = find_images(options.input)
    model: Any = folders.load(options.ckpt_path)
    likelihood = model.likelihood() if isinstance(model, HasLikelihood) else None
    if not isinstance(likelihood, DiffusionLikelihood):
        raise UserError(f"--ckpt_path {options.ckpt_path}: expected a diffusion model of pixels with a likelihood")
    model = model_options.placed(model, options)
    likelihood = model.likelihood()
    broken: list[str] = []
    preparation = model.preparation or Preparation.of_shape(model.image_shape)
    names, images = readable(paths, replace(preparation, levels=likelihood.levels), broken)
    rows: list[tuple[str, float]] = []
    with ProgressBar(options.quiet, "measuring") as bar:
        for start in range(0, len(names), options.batch_size):
            batch = torch.stack(images[start : start + options.batch_size])
            numbers = torch.arange(start, start + len(batch))
            found = likelihood.map(batch, numbers, options.times).cpu()
            for name, image, bits in zip(unique(names)[start:], batch, found, strict=False):
                path = options.out / "maps" / f"{name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                bits_map(image, bits).savefig(path)
            rows += zip(names[start:], found.flatten(1).mean(1).tolist(), strict=False)
            bar(start + len(batch), len(names))
    with replacing(options.out / "bits.csv") as staged, staged.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", "bits_per_dim"])
        writer.writerows([cell(name), f"{bits:.4f}"] for name, bits in rows)
    if rows:
        mean = sum(bits for _, bits in rows) / len(rows)
        say(f"{mean:.3f} bits per dimension, the mean of {len(rows)}; maps in {options.out / 'maps'}")
    if broken:
        raise UserError(*broken)
