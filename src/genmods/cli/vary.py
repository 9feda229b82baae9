"""`genmods vary`: variations of images; noise is added and removed again (SDEdit)."""

from __future__ import annotations

import argparse

from genmods.cli.editing import common_arguments, editor, images_of
from genmods.cli.look import unique
from genmods.cli.progress import ProgressBar
from genmods.core.errors import UserError
from genmods.core.printable import counted, say


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser, "image files and folders of them")
    add = parser.add_argument
    text = "standard deviation of the noise on the scale of 0 to 255; the larger, the freer (default 100)"
    add("--sigma", type=float, default=100.0, metavar="S", help=text)
    add("--samples", type=int, default=4, metavar="K", help="variations per image (default 4)")
    add("--sampler", metavar="NAME", help="a sampler of `genmods list sampler` instead of the run's")
    add("--guidance", type=float, default=1.0, metavar="W", help="scale of classifier-free guidance (default 1: none)")
    add("--seed", type=int, default=0, help="random seed; a variation depends only on it and the image's number")


def run(options: argparse.Namespace) -> None:
    if not 0 < options.sigma < float("inf"):
        raise UserError(f"--sigma must be above 0, on the scale of 0 to 255, got {options.sigma:g}")
    if options.samples < 1:
        raise UserError(f"--samples must be at least 1, got {options.samples}")
    import torch

    from genmods.core.progress import part_of
    from genmods.data.files import Picture, write_image
    from genmods.data.walk import find_images
    from genmods.visual.picture import to_picture

    paths = find_images(options.input)
    made, request = editor(options)
    settings = {"seed": options.seed, "sampler": options.sampler, "guidance": options.guidance}
    names, chunks = unique(list(map(str, paths))), torch.arange(len(paths)).split(options.batch_size)
    (options.out / "strips").mkdir(parents=True, exist_ok=True)
    with ProgressBar(options.quiet, "varying") as bar:
        for place, numbers in enumerate(chunks):
            _, images = images_of(made, [paths[i] for i in numbers])
            more = {**settings, "numbers": numbers, "progress": part_of(bar, place, len(chunks))}
            drawn = made.vary(images.to(made.model.device), 2 * options.sigma / 255, options.samples, request, **more)
            for i, image, variations in zip(numbers, images, drawn.cpu().transpose(0, 1), strict=True):
                for number, variation in enumerate(variations, start=1):
                    write_image(options.out / f"{names[i]}_{number}.png", Picture(variation))
                strip = torch.cat([image[None], variations])
                to_picture(strip, columns=len(strip)).save(options.out / "strips" / f"{names[i]}.png")
    say(f"{counted(options.samples, 'variation')} of {counted(len(names), 'image')} in {options.out}")
