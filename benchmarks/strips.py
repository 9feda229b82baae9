"""The pictures of docs/restoration.md: ten garments denoised, inpainted and enlarged by the commands themselves.

    python benchmarks/strips.py RUN [--out docs]

Each picture has two columns of five garments; from left to right: the input, the first result, the spread of four draws
(white: 0.5 on the scale of [-1, 1]) and the truth.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from genmods.cli import dispatch
from genmods.data.files import Picture, read_image, write_image
from genmods.data.sources.mnist import FashionMNIST
from genmods.restoration.corruption import GaussianNoise
from genmods.restoration.operators import Average

COMMANDS = {
    "denoise": ["denoise", "--sigma", "50"],
    "inpaint": ["inpaint", "--mask", "box:7,7,14,14"],
    "super_resolution": ["restore", "--operator", "average:factor=4"],
}


def garments() -> Tensor:
    """The first test image of each class."""
    test = FashionMNIST().read()["test"]
    first = [int((test.labels == k).nonzero()[0]) for k in range(10)]
    return test.pixels[first].float() / 127.5 - 1


def save(folder: Path, images: Tensor) -> Path:
    folder.mkdir()
    for k, image in enumerate(images):
        write_image(folder / f"{k}.png", Picture(image))
    return folder


def tiled(folder: Path, scale: int = 2) -> Tensor:
    """The ten strips of a folder in two columns."""
    strips = torch.stack([read_image(path).image for path in sorted(folder.iterdir())])
    strips = torch.nn.functional.pad(strips, (0, 4, 0, 2), value=0.0)
    columns = [torch.cat(list(half), dim=1) for half in strips.split(5)]
    return torch.cat(columns, dim=2).repeat_interleave(scale, 1).repeat_interleave(scale, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    options = parser.parse_args()
    truth = garments()
    inputs = {
        "denoise": GaussianNoise(50)(truth, torch.arange(10)),
        "inpaint": truth,
        "super_resolution": Average(4)(truth),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clean = save(folder / "truth", truth)
        for what, (command, *settings) in COMMANDS.items():
            source, out = save(folder / f"{what}-in", inputs[what]), folder / what
            paths = ["--ckpt_path", options.run, "--input", str(source), "--out", str(out), "--truth", str(clean)]
            if dispatch([command, *paths, "--samples", "4", *settings]):
                raise SystemExit(f"{what} failed")
            write_image(options.out / f"{what}.png", Picture(tiled(out / "strips")))


if __name__ == "__main__":
    main()
