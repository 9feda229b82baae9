"""Pairs of line drawings and coloured emoji for recipes/emoji/line_to_colour.yaml, and a grid of test images of a run.

    python benchmarks/emoji_lines.py pairs DIR [--side 64]
    python -m genmods fit --config recipes/emoji/line_to_colour.yaml --data.root=DIR
    python benchmarks/emoji_lines.py grid DIR RUN --out grid.png [--n 8] [--samples 3]

A line is the largest gradient of the three channels (Sobel), black on white; the emoji are Google's Noto Color Emoji
(OFL). Below each other, the grid has lines, samples and the emoji.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from genmods.data.files import read_image
from genmods.data.images import to_float, to_uint8
from genmods.data.sources.emoji import Emoji
from genmods.restoration import Restorer
from genmods.runs import folders


def lines(images: Tensor) -> Tensor:
    """Line drawings [N, 3, H, W] in [-1, 1], black on white, of images [N, 3, H, W] in [-1, 1]."""
    smooth, slope = torch.tensor([1.0, 2.0, 1.0]), torch.tensor([-1.0, 0.0, 1.0])
    kernels = torch.stack([torch.outer(smooth, slope), torch.outer(slope, smooth)])[:, None] / 8
    padded = F.pad(images.flatten(0, 1)[:, None], (1, 1, 1, 1), mode="replicate")
    strength = F.conv2d(padded, kernels).norm(dim=1).view_as(images).amax(1, keepdim=True)
    return (1 - 2 * (4 * strength).clamp(0, 1)).expand(-1, 3, -1, -1)


def save(image: Tensor, path: Path) -> None:
    """An image [3, H, W] in [-1, 1] as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(to_uint8(image).permute(1, 2, 0).numpy()).save(path)


def make_pairs(root: Path, side: int) -> None:
    """Folders train, val and test of `root`, each with the folders input (lines) and target (emoji)."""
    for split, images in Emoji().read().items():
        for first, part in enumerate(images.pixels.split(64)):
            emoji = to_float(part)
            for name, found in (("input", lines(emoji)), ("target", emoji)):
                small = F.interpolate(found, (side, side), mode="bicubic", antialias=True).clamp(-1, 1)
                for place, image in enumerate(small):
                    save(image, root / split / name / f"{64 * first + place:04}.png")
        print(f"{root / split}: {len(images.pixels):,} pairs", flush=True)


def make_grid(root: Path, run: str, out: Path, n: int, samples: int) -> None:
    """`n` evenly spaced test images: lines, `samples` draws and emoji."""
    names = sorted(path.name for path in (root / "test" / "input").iterdir())
    names = names[:: max(1, len(names) // n)][:n]
    seen, truth = (
        torch.stack([read_image(root / "test" / folder / name).image for name in names]).expand(-1, 3, -1, -1)
        for folder in ("input", "target")
    )
    drawn = Restorer(folders.load(run).eval()).restore(seen, samples=samples)
    rows = [torch.cat(list(row), dim=2) for row in (seen, *drawn, truth)]
    save(torch.cat(rows, dim=1), out)
    print(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    pairs, grid = commands.add_parser("pairs"), commands.add_parser("grid")
    for command in (pairs, grid):
        command.add_argument("root", type=Path)
    pairs.add_argument("--side", type=int, default=64)
    grid.add_argument("run")
    grid.add_argument("--out", type=Path, default=Path("grid.png"))
    grid.add_argument("--n", type=int, default=8, help="emoji")
    grid.add_argument("--samples", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.command == "pairs":
        make_pairs(options.root, options.side)
    else:
        make_grid(options.root, options.run, options.out, options.n, options.samples)


if __name__ == "__main__":
    main()
