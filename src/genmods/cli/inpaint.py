"""`genmods inpaint`: fills holes in images; the known pixels are returned bit-exact."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from genmods.cli.restoration_io import Session, common_arguments, method_argument
from genmods.core.printable import say


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser, "0", "noise of the known pixels, on the scale of 0 to 255, or auto; then denoised")
    method_argument(parser)
    parser.add_argument(
        "--mask",
        required=True,
        help="the hole: a file (white = fill), a folder of them, box:x,y,width,height or random:fraction",
    )
    parser.add_argument("--invert", action="store_true", help="fill the black pixels of the mask instead")


def run(options: argparse.Namespace) -> None:
    import torch
    from torch import Tensor

    from genmods.cli.image_batches import Restored
    from genmods.cli.mask_option import notes, parse_hole
    from genmods.core.progress import Progress

    for note in notes(options.mask, options.invert):  # before the model is loaded
        say(note, file=sys.stderr)
    session = Session(options)

    def restored(images: Tensor, numbers: Tensor, names: list[Path], progress: Progress) -> Restored:
        height, width = images.shape[2:]
        holes = [
            parse_hole(options.mask, height, width, options.seed, int(number), name, options.invert)
            for number, name in zip(numbers, names, strict=True)
        ]
        hole = torch.stack(holes)
        settings = session.settings(numbers, progress) | {"samples": options.samples}
        samples = session.restorer.inpaint(images, hole, session.sigma, **settings)
        return Restored(samples[0], torch.where(hole[:, None], 0.0, images), samples)

    session.process(restored)
