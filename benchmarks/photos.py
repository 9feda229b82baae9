"""Denoising of colour photographs: trained restoration networks and CBM3D with known sigma, on the same noise.

    python benchmarks/photos.py --clothing DIR --ckpt_path NAME=RUN ... [--seconds 240]

measures every `--every`-th image of the folder `test` of a clothing data set, and colour photographs of scikit-image
and scikit-learn, all halved first. One line of JSON per image, method and noise level is appended to `--out` as it is
computed; existing lines are not computed again. The tables have the PSNR averaged over images with its standard error,
the mean difference from CBM3D on the same images with its standard error, and the processor time per megapixel.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from common import machine
from torch import Tensor

from genmods.core import random
from genmods.data.images import to_float, to_uint8
from genmods.data.sources.photo_patches import read_photo
from genmods.data.walk import walk
from genmods.metrics.fidelity import psnr
from genmods.restoration.corruption import GaussianNoise
from genmods.restoration.flips import Flipped
from genmods.runs import folders

LEVELS = (15, 25, 50)
PEER = "cbm3d"
PHOTOGRAPHS = ("astronaut", "cat", "coffee", "rocket")
"""Colour photographs in scikit-image."""

T = TypeVar("T")
Denoiser = Callable[[Tensor, int], Tensor]
"""(noisy image [1, 3, H, W] in [-1, 1], sigma on the scale of 0 to 255) -> estimate."""


@dataclass(frozen=True)
class Photo:
    """A photograph with 256 grey levels, float32 [1, 3, H, W] in [-1, 1], whose noise is determined by `number`."""

    group: str
    name: str
    number: int
    image: Tensor

    @property
    def megapixels(self) -> float:
        return self.image.shape[2] * self.image.shape[3] / 1e6

    def central(self, side: int) -> Photo:
        """The central square of `side` pixels, or less if the photograph is smaller."""
        top, left = (max(0, (size - side) // 2) for size in self.image.shape[2:])
        return replace(self, image=self.image[:, :, top : top + side, left : left + side])

    def noisy(self, sigma: int) -> Tensor:
        """The photograph with white noise, neither clipped nor rounded."""
        keys = random.fold(sigma, torch.tensor([self.number]))
        return GaussianNoise(sigma)(self.image, keys)


def clothing(root: Path, every: int) -> Iterator[Photo]:
    """Every `every`-th image of the test folder, halved."""
    for number, path in list(enumerate(walk(root / "test")))[::every]:
        yield Photo("clothing", path.name, number, _rounded(read_photo(path, 0.5)))


def library_photographs() -> Iterator[Photo]:
    """The colour photographs of scikit-image and scikit-learn, halved."""
    import skimage.data
    from sklearn.datasets import load_sample_images

    found = {name: getattr(skimage.data, name)() for name in PHOTOGRAPHS}
    samples = load_sample_images()
    found |= {Path(name).stem: image for name, image in zip(samples.filenames, samples.images, strict=True)}
    for number, (name, array) in enumerate(found.items()):
        image = torch.from_numpy(array.copy())[..., :3].permute(2, 0, 1)
        size = [side // 2 for side in image.shape[1:]]
        small = torch.nn.functional.interpolate(to_float(image)[None], size, mode="bicubic", antialias=True)
        yield Photo("libraries", name, 100_000 + number, _rounded(small[0]))


def _rounded(image: Tensor) -> Tensor:
    return to_float(to_uint8(image.expand(3, -1, -1)))[None]


def cbm3d(y: Tensor, sigma: int) -> Tensor:
    from bm3d import bm3d_rgb

    array = ((y[0].permute(1, 2, 0) + 1) / 2).double().numpy()
    return torch.from_numpy(bm3d_rgb(array, sigma / 255)).float().permute(2, 0, 1)[None] * 2 - 1


def trained(run: str, precision: str, flips: bool = False) -> Denoiser:
    """A restoration network; it receives the noise level if it was trained with it."""
    model = folders.load(run).eval()
    model = Flipped(model) if flips else model

    def denoise(y: Tensor, sigma: int) -> Tensor:
        std = torch.full((1, 1, 1, 1), 2 * sigma / 255)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            return model.restored(y, std).float()

    return denoise


def measure(options: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Computes the missing rows, for at most `--seconds`."""
    started, done = time.monotonic(), {(row["method"], row["group"], row["image"], row["sigma"]) for row in rows}
    methods: dict[str, Denoiser] = {} if options.without_peer else {PEER: cbm3d}
    for text in options.ckpt_path:
        name, _, run = text.rpartition("=")
        methods[name or Path(run).name] = trained(run, options.precision)
        if options.flips:
            methods[f"{name or Path(run).name}, flips"] = trained(run, options.precision, flips=True)
    photos = spread([*library_photographs(), *clothing(options.clothing, options.every)])
    photos = [photo.central(options.crop) for photo in photos]
    jobs = [(name, photo, sigma) for name in methods for photo in photos for sigma in LEVELS]
    for name, photo, sigma in jobs:
        if (name, photo.group, photo.name, sigma) in done:
            continue
        if time.monotonic() - started > options.seconds:
            print("the time is over; the same call continues")
            return
        noisy, begin = photo.noisy(sigma), time.process_time()
        result = methods[name](noisy, sigma).clamp(-1, 1)
        seconds = time.process_time() - begin
        row = {"method": name, "group": photo.group, "image": photo.name, "sigma": sigma}
        row |= {"psnr": psnr(result, photo.image).item(), "noisy": psnr(noisy, photo.image).item()}
        row |= {"cpu_seconds": seconds, "megapixels": photo.megapixels}
        rows.append(row)
        with options.out.open("a") as file:
            file.write(json.dumps(row) + "\n")


def spread(photos: Sequence[T]) -> list[T]:
    """`photos` in an order of which every part is evenly distributed (golden ratio), for incomplete tables."""
    return [photo for _, photo in sorted(enumerate(photos), key=lambda item: item[0] * 0.6180339887 % 1)]


def tables(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Lines of a Markdown table per group of photographs."""
    peers = {(r["group"], r["image"], r["sigma"]): r["psnr"] for r in rows if r["method"] == PEER}
    for group in dict.fromkeys(row["group"] for row in rows):
        yield f"\n| {group} | sigma | n | PSNR | minus CBM3D | CPU seconds per megapixel |\n|---|---|---|---|---|---|"
        for method in dict.fromkeys(row["method"] for row in rows):
            for sigma in (*LEVELS, None):
                found = [
                    r for r in rows if (r["method"], r["group"]) == (method, group) and sigma in (r["sigma"], None)
                ]
                paired = [r for r in found if (r["group"], r["image"], r["sigma"]) in peers]
                if found:
                    gains = [r["psnr"] - peers[r["group"], r["image"], r["sigma"]] for r in paired]
                    cost = sum(r["cpu_seconds"] for r in found) / sum(r["megapixels"] for r in found)
                    psnrs = mean_and_error([r["psnr"] for r in found])
                    gain = mean_and_error(gains) if gains and method != PEER else "-"
                    yield f"| {method} | {sigma or 'all'} | {len(found)} | {psnrs} | {gain} | {cost:.2f} |"


def mean_and_error(values: list[float]) -> str:
    """The mean of `values` and its standard error."""
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):.2f} ± {error:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clothing", type=Path, required=True, help="folder with the folder `test`")
    parser.add_argument("--ckpt_path", nargs="*", default=[], metavar="NAME=RUN", help="runs of restoration networks")
    parser.add_argument("--every", type=int, default=6, help="1 takes all images of the test folder")
    parser.add_argument("--crop", type=int, default=100_000, help="measure the central square of this side only")
    parser.add_argument("--seconds", type=float, default=240, help="start no further measurement after this time")
    parser.add_argument("--precision", choices=("32", "bf16"), default="32")
    parser.add_argument("--flips", action="store_true", help="measure also the mean over four flips")
    parser.add_argument("--without_peer", action="store_true", help="do not run CBM3D")
    parser.add_argument("--out", type=Path, default=Path("photos.jsonl"))
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    measure(options, rows)
    print(*tables(rows), json.dumps(machine()), sep="\n")


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
