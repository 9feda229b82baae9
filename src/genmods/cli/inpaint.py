"""`genmods inpaint`: fills holes in images; the known pixels are returned bit-exact."""

from __future__ import annotations

import argparse

from genmods.cli.restoration_io import Session, common_arguments, method_argument


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser, "0", "noise of the known pixels, on the scale of 0 to 255, or auto; then denoised")
    method_argument(parser)
    parser.add_argument(
        "--mask", required=True, help="the hole: a file (white = fill), box:x,y,width,height or random:fraction"
    )


def run(options: argparse.Namespace) -> None:
    import torch
    from torch import Tensor

    from genmods.cli.image_batches import Restored
    from genmods.cli.mask_option import parse_hole, read_mask

    read_mask(options.mask)  # report an invalid mask before any image
    session = Session(options)

    def restored(images: Tensor, numbers: Tensor) -> Restored:
        height, width = images.shape[2:]
        hole = torch.stack([parse_hole(options.mask, height, width, options.seed, int(n)) for n in numbers])
        settings = session.settings(numbers) | {"samples": options.samples}
        samples = session.restorer.inpaint(images, hole, session.sigma, **settings)
        return Restored(samples[0], torch.where(hole[:, None], 0.0, images), samples)

    session.process(restored)
