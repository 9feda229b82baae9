"""`genmods denoise`: removes noise of a known or unknown level, with an estimate of the uncertainty."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from genmods.cli.restoration_io import Session, common_arguments, part
from genmods.core.errors import UserError
from genmods.core.printable import say

if TYPE_CHECKING:
    from genmods.restoration.corruption import Corruption


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser, "auto", "standard deviation of the noise on the scale of 0 to 255, or auto (default)")
    parser.add_argument(
        "--flips",
        action="store_true",
        help="call a restoration network for four flips of each image and average; better, in four times the time",
    )
    parser.add_argument(
        "--corruption",
        metavar="NAME[:KEY=VALUE,...]",
        help="noise other than white Gaussian: a corruption of `genmods list corruption` and its level",
    )


def _report_training(session: Session, corruption: Corruption | None) -> None:
    """Prints that a restoration network was trained for other noise than that of the options."""
    from genmods.restoration.corruption import GaussianNoise

    trained = None if session.restorer.prior.network is None else session.restorer.prior.corruption
    given = GaussianNoise(session.sigma * 255 / 2) if session.sigma != "auto" else corruption
    if trained is not None and given is not None and not trained.covers(given):
        say(f"the network was trained for {trained}, not for {given}", file=sys.stderr)


def run(options: argparse.Namespace) -> None:
    from torch import Tensor

    from genmods.cli.image_batches import Restored
    from genmods.core.progress import Progress
    from genmods.restoration.flips import Flipped

    if options.corruption and options.sigma != "auto":
        raise UserError("--sigma and --corruption are alternatives; set one of them")
    corruption = part("corruption", options.corruption) if options.corruption else None
    session = Session(options, Flipped if options.flips else None)
    session.restorer.prior.check_denoises(corruption)  # before any image
    _report_training(session, corruption)
    restorer, estimated = session.restorer, corruption is None and session.sigma == "auto"

    def restored(images: Tensor, numbers: Tensor, names: list[Path], progress: Progress) -> Restored:
        settings = session.settings(numbers, progress) | {"corruption": corruption}
        found = restorer.estimate_noise(images, options.label) if estimated else None
        sigma = session.sigma if found is None else found
        samples = restorer.denoise(images, sigma, samples=options.samples, **settings) if options.samples > 1 else None
        level = None if found is None else found.level.view(len(images), -1)
        return Restored(restorer.denoise(images, sigma, **settings), images, samples, level)

    session.process(restored)
