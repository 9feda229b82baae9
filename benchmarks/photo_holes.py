"""Holes of half the side in test photographs, at four places each: a diffusion model and what fills holes without one.

    python -m genmods fit --config recipes/folder/generate.yaml --data.root=DIR --name=photos64
    python benchmarks/photo_holes.py RUN --work DIR --out photo_holes.jsonl [--n 1488] [--draws 8] [--calls 20]

RUN is a colour diffusion model, its test images are those of its data. The PSNR in the hole is that of the mean of the
draws; one draw is compared with as many training images as there are holes by KID, as are Telea's and Navier-Stokes
(OpenCV), the biharmonic fill (scikit-image) and the photographs themselves. Rows, draws and features are kept chunk by
chunk, so that the same call continues. Standard errors of the PSNR are those of photographs, not of holes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import restoration_peers as peers
import torch
from common import in_bfloat16, machine
from judge import Rows, block_kid, kept, kept_features, run_data
from torch import Tensor

from genmods.config.build import create
from genmods.data.images import to_float
from genmods.metrics.fidelity import psnr
from genmods.restoration import BoxMask
from genmods.restoration.restore import restore
from genmods.runs import folders

OURS, TRUTH, KID = "diffusion", "truth", "kid"
METHODS = (OURS, "INPAINT_TELEA", "INPAINT_NS", "biharmonic")
CHUNK, MARGIN = 31, 16
"""Photographs per chunk; the holes are a sixteenth of the side away from the border."""


def places(side: int) -> list[BoxMask]:
    """Four holes of half the side of a square image, one in each corner."""
    hole = side // 2
    ends = (side // MARGIN, side - hole - side // MARGIN)
    return [BoxMask(x, y, hole, hole) for y in ends for x in ends]


class Holes:
    """The photographs, the model, and what is found chunk by chunk."""

    def __init__(self, options: argparse.Namespace, rows: Rows) -> None:
        data = run_data(options.run)
        self.options, self.rows = options, rows
        self.work = options.work / "-".join(str(value).replace("/", "_") for value in rows.fixed.values())
        self.images = to_float(data.splits["test"].pixels[: -(-options.n // 4)])
        pixels = data.splits["train"].pixels
        self.others = to_float(pixels[:: max(1, len(pixels) // options.n)][: options.n])
        self.model = folders.load(options.run).eval()
        if options.precision == "bf16":
            in_bfloat16(self.model.diffusion_model().denoiser.network)

    def filled(self, method: str, rows: slice, place: int) -> tuple[Tensor, Tensor]:
        """The estimate of the mean and one result [B, C, H, W]."""
        images, mask = self.images[rows], places(self.images.shape[-1])[place]
        if method == OURS:
            options = self.options
            numbers = torch.arange(len(self.images))[rows] + place * len(self.images)
            settings: dict[str, Any] = {"samples": options.draws, "steps": options.calls, "numbers": numbers}
            draws = restore(images, mask, self.model, options.guidance, **settings)
            return draws.mean(0), draws[0]
        known = mask.known(images[:1]).expand(1, 1, *images.shape[2:])
        hidden = torch.where(known, images, 0)
        result = peers.biharmonic(hidden, known) if method == "biharmonic" else peers.opencv(hidden, known, method)
        return result, result

    def results(self, method: str) -> Tensor:
        """One result of each hole [n, C, H, W]; the PSNR of all goes into the rows."""
        if method == TRUTH:
            return self.images
        chunks = [(place, first) for place in range(4) for first in range(0, len(self.images), CHUNK)]
        return torch.cat([self.chunk(method, *chunk) for chunk in chunks])

    def chunk(self, method: str, place: int, first: int) -> Tensor:
        rows, name = slice(first, first + CHUNK), f"{place}-{first}"
        point, path = {"method": method, "part": name}, self.work / method / f"{name}.pt"
        hole = ~places(self.images.shape[-1])[place].known(self.images[:1]).expand(1, 1, *self.images.shape[2:])

        def make() -> Tensor:
            begin = time.process_time()
            mean, one = self.filled(method, rows, place)
            seconds = time.process_time() - begin
            for missing in self.rows.left([point]):
                found = psnr(mean, self.images[rows], hole).tolist()
                self.rows.add(missing | {"first": first, "psnr": found, "cpu_seconds": seconds})
            return one

        if list(self.rows.left([point])):
            path.unlink(missing_ok=True)
        return kept(path, make)

    def measure(self) -> None:
        extractor = create("features", "efficientnet_lite0", weights=self.options.weights).features()
        reference = kept_features(extractor, self.others, self.work / "features_train")
        for point in self.rows.left({"method": method, "part": KID} for method in (*METHODS, TRUTH)):
            results = self.results(point["method"])
            found = kept_features(extractor, results, self.work / f"features_{point['method']}")
            kid, error = block_kid(found, reference)
            self.rows.add(point | {"holes": len(results), "kid": kid, "kid_se": error})


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Lines of a Markdown table."""
    yield "| method | holes | PSNR in the hole | KID of one draw | CPU s per hole |\n|---|---|---|---|---|"
    for method in dict.fromkeys(row["method"] for row in rows):
        chunks = [row for row in rows if row["method"] == method and row["part"] != KID]
        distances = [row for row in rows if row["method"] == method and row["part"] == KID]
        photos: dict[int, list[float]] = {}
        for row in chunks:
            for place, value in enumerate(row["psnr"], row["first"]):
                photos.setdefault(place, []).append(value)
        each, count = (
            torch.tensor([sum(values) / len(values) for values in photos.values()]),
            sum(map(len, photos.values())),
        )
        decibels = f"{each.mean():.2f} ± {each.std() / max(1, len(each)) ** 0.5:.2f}" if count else "-"
        cost = f"{sum(row['cpu_seconds'] for row in chunks) / count:.3f}" if count else "-"
        kid = "".join(f"{row['kid']:.4f} ± {row['kid_se']:.4f}" for row in distances) or "-"
        yield f"| {method} | {count or '-'} | {decibels} | {kid} | {cost} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a colour diffusion model of photographs")
    parser.add_argument("--n", type=int, default=1488, help="holes, four in each test image")
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--calls", type=int, default=20, help="network calls of a draw")
    parser.add_argument("--guidance", default="auto", help="the method of the diffusion model")
    parser.add_argument("--precision", choices=("32", "bf16"), default="32", help="of the network")
    parser.add_argument("--weights", help="efficientnet-lite0-57934424.pth; by default that of the package")
    parser.add_argument("--work", type=Path, required=True, help="folder of draws and features")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="JSON lines; rows that are there are kept")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    settings = {name: getattr(options, name) for name in ("run", "n", "draws", "calls", "guidance", "precision")}
    rows = Rows(options.out, ("method", "part"), settings)
    Holes(options, rows).measure()
    print(*table(rows.rows), json.dumps(machine()), sep="\n")


if __name__ == "__main__":
    main()
