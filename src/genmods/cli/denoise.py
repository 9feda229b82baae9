"""`genmods denoise`: removes noise of a known or unknown level, with an estimate of the uncertainty."""

from __future__ import annotations

import argparse

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
    from genmods.diffusion.samplers.dpmpp import DPMpp2MSDESampler
    from genmods.restoration.denoising import (
        corruption_level,
        denoise,
        denoise_corruption,
        denoise_samples,
        noise_level,
    )

    corruption = part("corruption", options.corruption) if options.corruption else None
    session = Session(options)
    model, samples = session.model, options.samples

    def restorer(images: Tensor, numbers: Tensor) -> Restored:
        y, each, back = session.adapt(images, numbers)
        conditions = session.conditions(y, each)
        label = conditions["label"]
        level: Tensor | float
        if corruption is not None:
            draws = denoise_corruption(y, model, corruption, max(samples, 8), options.steps, **conditions)
            if len(draws) >= samples:
                return Restored(back(draws.mean(0)), images, back(draws[:samples]))
            level = corruption_level(y, model, corruption, label)
        else:
            level = noise_level(y, model, label) if session.sigma is None else session.sigma
        estimate = back(denoise(y, model, level, label))
        if samples == 1:
            return Restored(estimate, images)
        draws = denoise_samples(y, model, level, samples, DPMpp2MSDESampler(steps=options.steps), **conditions)
        return Restored(estimate, images, back(draws))

    session.process(restorer)
