"""Options of `generate` for guidance: classifier-free guidance, autoguidance, classifier guidance."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from genmods.core.errors import UserError

if TYPE_CHECKING:
    from genmods.models import Guide

SETTINGS = ("guidance", "classifier", "worse", "interval", "threshold")


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--guidance",
        type=float,
        metavar="W",
        help="guidance scale (classifier-free guidance unless another kind is given)",
    )
    add("--classifier", metavar="C", help="classifier guidance by this run of a classifier (W = 1: exact in theory)")
    add("--worse", metavar="C", help="autoguidance by this run of a smaller or less trained model of the same data")
    add("--interval", type=float, nargs=2, metavar=("LO", "HI"), help="apply guidance only for LO < sigma/alpha <= HI")
    add("--threshold", type=float, metavar="Q", help="dynamic thresholding at this quantile of the estimate's pixels")


def guide(source: Any, options: argparse.Namespace) -> Guide:
    """The guidance given by the options; raises UserError for incompatible options."""
    from genmods.models import guide as compose
    from genmods.runs import folders

    if options.classifier and options.worse:
        raise UserError("--classifier and --worse are mutually exclusive")
    classifier, worse = (run and folders.load(run) for run in (options.classifier, options.worse))
    label = None if options.label is None or classifier is None else options.label
    interval = options.interval and tuple(options.interval)
    settings = {"label": label, "interval": interval, "threshold": options.threshold}
    try:
        return compose(source.diffusion_model(), options.guidance, classifier=classifier, worse=worse, **settings)
    except UserError as error:
        raise UserError(f"--{error}") from None
