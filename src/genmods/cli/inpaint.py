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
    from genmods.restoration.operators import Mask

    read_mask(options.mask)  # report an invalid mask before any image
    session = Session(options)

    def restorer(images: Tensor, numbers: Tensor) -> Restored:
        height, width = images.shape[2:]
        holes = [parse_hole(options.mask, height, width, options.seed, int(n)) for n in numbers]
        known = ~torch.stack(holes)[:, None]
        y, each, back = session.adapt(images, numbers)
        mask = Mask(known.repeat_interleave(len(y) // len(images), 0))
        sigma = session.noise(images)
        draws = back(session.samples(y, mask, each, sigma))
        draws = torch.where(known & (sigma == 0).view(-1, 1, 1, 1), images, draws)
        return Restored(draws[0], torch.where(known, images, 0.0), draws)

    session.process(restorer)
