"""Processor seconds per 1,000 images of feature extractors, on one thread, in turns within one run.

    python benchmarks/features.py efficientnet_lite0 pixels runs/cnn --sides 64 224 --out features.json

Extractors are given as for `evaluate --features`; a run takes images of its own size.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from common import alternate, report
from torch import Tensor

from genmods.cli.model_options import named_features
from genmods.config.builtins import BUILTINS
from genmods.runs import folders


def shapes(choice: str, sides: list[int]) -> list[tuple[int, int, int]]:
    """The shapes [C, H, W] of images to measure."""
    if choice.partition("=")[0] in BUILTINS["features"]:
        return [(3, side, side) for side in sides]
    own = folders.load(choice).image_shape
    return [(own[0], own[1], own[2])]


def calls(choice: str, sides: list[int], n: int) -> dict[str, Callable[[], Tensor]]:
    """The extraction of features of `n` stored images, by the name of the extractor and the size."""
    made = {}
    for shape in shapes(choice, sides):
        features, images = named_features(choice, shape), torch.randint(0, 256, (n, *shape), dtype=torch.uint8)
        name = f"{features.name}, {shape[0]} x {shape[1]} x {shape[2]}"
        made[name] = lambda features=features, images=images: features(images)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", nargs="+", help="extractors, as for `evaluate --features`")
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 224])
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    candidates = {}
    for choice in args.features:
        candidates |= calls(choice, args.sides, args.images)
    seconds = alternate(candidates, args.rounds, warm_up=1)
    per_thousand = {name: round(1000 * statistics.median(s) / args.images, 3) for name, s in seconds.items()}
    report({"seconds per 1,000 images": per_thousand}, args.out)


if __name__ == "__main__":
    main()
