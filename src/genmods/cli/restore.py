"""`genmods restore`: super-resolution, deblurring, colourisation and other linear inverse problems."""

from __future__ import annotations

import argparse

from genmods.cli.restoration_io import Session, common_arguments, method_argument, part

ROUNDING = 2 / 255 / 12**0.5
"""Standard deviation of the rounding to 8 bits, on [-1, 1]: invisible, but amplified by deblurring."""


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
    from genmods.restoration.operators import Blur, Compose, Grayscale

    operators = [part("operator", text) for text in options.operator]
    operator = operators[0] if len(operators) == 1 else Compose(operators)
    blurred = any(isinstance(one, Blur) for one in operators)
    joins_channels = any(isinstance(one, Grayscale) for one in operators)
    session = Session(options)

    def restorer(images: Tensor, numbers: Tensor) -> Restored:
        sigma = session.noise(images)
        sigma = sigma.clamp_min(ROUNDING) if blurred else sigma
        if joins_channels:
            draws = session.samples(images.to(session.model.device), operator, numbers, sigma).cpu()
        else:
            y, each, back = session.adapt(images, numbers)
            draws = back(session.samples(y, operator, each, sigma))
        return Restored(draws[0], images, draws)

    session.process(restorer)
