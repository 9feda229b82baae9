"""`genmods denoise`: removes noise of a known or unknown level, with an estimate of the uncertainty."""

from __future__ import annotations

import argparse
from functools import partial

from genmods.cli.restoration_io import Session, common_arguments, part


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser, "auto", "standard deviation of the noise on the scale of 0 to 255, or auto (default)")
    parser.add_argument(
        "--corruption",
        metavar="NAME[:KEY=VALUE,...]",
        help="noise other than white Gaussian: a corruption of `genmods list corruption` and its level",
    )


def run(options: argparse.Namespace) -> None:
    from torch import Tensor

    from genmods.cli.image_batches import Restored

    corruption = part("corruption", options.corruption) if options.corruption else None
    session = Session(options)
    denoise = partial(session.restorer.denoise, sigma=session.sigma, corruption=corruption)

    def restored(images: Tensor, numbers: Tensor) -> Restored:
        settings = session.settings(numbers)
        samples = denoise(images, samples=options.samples, **settings) if options.samples > 1 else None
        return Restored(denoise(images, **settings), images, samples)

    session.process(restored)
