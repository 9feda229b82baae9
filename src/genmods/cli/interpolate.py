"""`genmods interpolate`: images between two images, by spherical interpolation of their latents."""

from __future__ import annotations

import argparse

from genmods.cli.editing import common_arguments, editor, images_of, solver_arguments
from genmods.cli.progress import ProgressBar
from genmods.core.errors import UserError
from genmods.core.printable import counted, say


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser, "two image files")
    solver_arguments(parser)
    parser.add_argument("--frames", type=int, default=9, help="images with both ends (default 9)")


def run(options: argparse.Namespace) -> None:
    if len(options.input) != 2:
        raise UserError(f"--input must be two image files, got {len(options.input)}")
    if options.frames < 2:
        raise UserError(f"--frames must be at least 2, got {options.frames}")
    from genmods.data.files import Picture, write_image
    from genmods.visual.picture import to_picture

    made, request = editor(options)
    _, images = images_of(made, options.input)
    with ProgressBar(options.quiet, "interpolating") as bar:
        images = images.to(made.model.device)
        frames = made.interpolate(images[:1], images[1:], options.frames, request, bar)[:, 0].cpu()
    for number, frame in enumerate(frames):
        write_image(options.out / f"{number:03d}.png", Picture(frame))
    to_picture(frames, columns=len(frames)).save(options.out / "strip.png")
    say(f"{counted(len(frames), 'image')} in {options.out}, all on {options.out / 'strip.png'}")
