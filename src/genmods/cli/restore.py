"""`genmods restore`: super-resolution, deblurring, colourisation and other inverse problems."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from genmods.cli.restoration_io import Session, common_arguments, method_argument, part


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser, "0", "noise of the input, on the scale of 0 to 255, or auto")
    method_argument(parser)
    parser.add_argument(
        "--operator",
        action="append",
        default=[],
        metavar="NAME[:KEY=VALUE,...]",
        help="the degradation: an operator of `genmods list operator`; may be repeated to compose several; or a "
        "corruption that the model was trained for (default: the degradation that it was trained for)",
    )


def run(options: argparse.Namespace) -> None:
    from torch import Tensor

    from genmods.cli.image_batches import Restored
    from genmods.core.progress import Progress

    operator = _degradation(options.operator)
    session = Session(options)
    session.restorer.prior.operator_of(operator)  # report one that is not supported before any image

    def restored(images: Tensor, numbers: Tensor, names: list[Path], progress: Progress) -> Restored:
        settings = session.settings(numbers, progress) | {"samples": options.samples}
        samples = session.restorer.restore(images, operator, session.sigma, **settings)
        return Restored(samples[0], images, samples)

    session.process(restored)


def _degradation(texts: list[str]) -> Any:
    """The operator or corruption of the options `--operator`; None without any."""
    from genmods.config import registry
    from genmods.restoration.operators import Compose

    if len(texts) == 1 and texts[0].partition(":")[0] in registry.names("corruption"):
        return part("corruption", texts[0])
    operators = [part("operator", text) for text in texts]
    return Compose(operators) if len(operators) > 1 else next(iter(operators), None)
