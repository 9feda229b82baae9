"""`genmods restore`: super-resolution, deblurring, colourisation and other linear inverse problems."""

from __future__ import annotations

import argparse
from pathlib import Path

from genmods.cli.restoration_io import Session, common_arguments, method_argument, part


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser, "0", "noise of the input, on the scale of 0 to 255, or auto")
    method_argument(parser)
    parser.add_argument(
        "--operator",
        action="append",
        required=True,
        metavar="NAME[:KEY=VALUE,...]",
        help="the degradation: an operator of `genmods list operator`; may be repeated to compose several",
    )


def run(options: argparse.Namespace) -> None:
    from torch import Tensor

    from genmods.cli.image_batches import Restored
    from genmods.restoration.operators import Compose

    operators = [part("operator", text) for text in options.operator]
    operator = operators[0] if len(operators) == 1 else Compose(operators)
    session = Session(options)

    def restored(images: Tensor, numbers: Tensor, names: list[Path]) -> Restored:
        settings = session.settings(numbers) | {"samples": options.samples}
        samples = session.restorer.restore(images, operator, session.sigma, **settings)
        return Restored(samples[0], images, samples)

    session.process(restored)
