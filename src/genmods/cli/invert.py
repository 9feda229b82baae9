"""`genmods invert`: the latents of images under the probability flow or DDIM, and the error of the way back."""

from __future__ import annotations

import argparse
from typing import Any

from genmods.cli.editing import common_arguments, editor, images_of, solver_arguments
from genmods.cli.progress import ProgressBar
from genmods.core.printable import counted, say


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser, "image files and folders of them")
    solver_arguments(parser)


def run(options: argparse.Namespace) -> None:
    import numpy as np

    from genmods.core.atomic import replacing
    from genmods.core.progress import part_of
    from genmods.data.walk import find_images
    from genmods.visual.picture import to_picture

    paths = find_images(options.input)
    made, request = editor(options)
    names, images = images_of(made, paths)
    images = images.to(made.model.device)
    with ProgressBar(options.quiet, "inverting") as bar:
        latents = made.invert(images, request, part_of(bar, 0, 2))
        back = made.generate(latents, request, part_of(bar, 1, 2))
    error = (back - images).flatten(1).square().mean(1).sqrt() * 255 / 2
    arrays: dict[str, Any] = {"latents": latents.cpu().numpy(), "names": np.array(names), "error": error.cpu().numpy()}
    with replacing(options.out / "latents.npz") as staged, staged.open("wb") as file:
        np.savez(file, **arrays)
    pairs = [image for pair in zip(images.cpu(), latents.cpu() / 3, back.cpu(), strict=True) for image in pair]
    if latents.shape == images.shape:
        import torch

        to_picture(torch.stack(pairs), columns=3).save(options.out / "strip.png")
    say(f"latents of {counted(len(names), 'image')} in {options.out / 'latents.npz'}")
    say(f"root mean square error of the way back, 0 to 255: mean {error.mean():.3g}, largest {error.max():.3g}")
