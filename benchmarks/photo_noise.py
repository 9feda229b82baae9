"""Denoising of photographs whose noise is unknown (`--sigma auto`): the level found, and the gain over the noisy image.

    python benchmarks/photo_noise.py RUN --clothing DIR [--pairs DIR] [--seconds 240]

The noise of the central parts of the photographs of `benchmarks/photos.py` is white, per channel, signal-dependent, or
smoothed and compressed by JPEG; `--pairs` has folders `noisy` and `clean`. One line of JSON per image and noise is
appended to `--out` as it is computed; existing lines are not computed again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from common import machine
from photos import clothing, library_photographs, mean_and_error, spread
from torch import Tensor

from genmods.data.files import read_image
from genmods.data.images import to_float, to_uint8
from genmods.metrics.fidelity import psnr
from genmods.restoration import Restorer, estimate_sigma
from genmods.restoration.corruption import Corruption, GaussianNoise, Jpeg, SensorNoise
from genmods.restoration.mixtures import Chain
from genmods.runs import folders

NOISES: dict[str, Corruption] = {f"white {s}": GaussianNoise(s) for s in (2, 5, 10, 25)}
NOISES |= {"channels 3 6 9": SensorNoise([3.0, 6.0, 9.0]), "sensor, gain 0.5": SensorNoise([2.0], 0.5)}
NOISES |= {f"smoothed {s}, JPEG 92": Chain([SensorNoise([s], blur=0.7), Jpeg(92)]) for s in (3.0, 5.0, 10.0)}

Case = tuple[str, str, Tensor, Tensor]
"""Kind of noise, name, noisy and clean image [1, 3, H, W]."""


def cases(options: argparse.Namespace) -> Iterator[Case]:
    """The images, pairs first."""
    for path in sorted((options.pairs / "noisy").iterdir()) if options.pairs else []:
        clean = next((options.pairs / "clean").glob(f"{path.stem}.*"))
        yield "pairs", path.stem, read_image(path).image[None], read_image(clean).image[None]
    photographs = spread([*library_photographs(), *clothing(options.clothing, options.every)])
    for photo in (photo.central(options.crop) for photo in photographs):
        for kind, noise in NOISES.items():
            noisy = noise(photo.image, torch.tensor([photo.number]))
            yield kind, photo.name, to_float(to_uint8(noisy.clamp(-1, 1))), photo.image


def measured(restorer: Restorer, noisy: Tensor, clean: Tensor) -> dict[str, Any]:
    """Levels (0 to 255) and PSNR of one image."""
    found, before = restorer.estimate_noise(noisy), psnr(noisy, clean).item()
    levels = {"true": (noisy - clean).square().mean().sqrt(), "found": found.level.square().mean().sqrt()}
    levels["wavelets"] = estimate_sigma(noisy)[0]
    gain = psnr(restorer.denoise(noisy, found), clean).item() - before
    return {name: level.item() * 127.5 for name, level in levels.items()} | {"noisy": before, "gain": gain}


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Lines of a Markdown table by kind of noise."""
    yield "| noise | n | true level | found / true | wavelets / true | gain, dB | least gain |"
    yield "|---|---|---|---|---|---|---|"
    for kind in dict.fromkeys(row["kind"] for row in rows):
        some = [row for row in rows if row["kind"] == kind]
        ratios = [mean_and_error([row[name] / row["true"] for row in some]) for name in ("found", "wavelets")]
        gains = [row["gain"] for row in some]
        level = sum(row["true"] for row in some) / len(some)
        shown = [kind, f"{len(some)}", f"{level:.1f}", *ratios, mean_and_error(gains), f"{min(gains):.2f}"]
        yield f"| {' | '.join(shown)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="a diffusion run or a restoration network")
    parser.add_argument("--clothing", type=Path, required=True, help="folder with the folder `test`")
    parser.add_argument("--pairs", type=Path, help="folder with the folders `noisy` and `clean`")
    parser.add_argument("--every", type=int, default=24, help="1 takes all images of the test folder")
    parser.add_argument("--crop", type=int, default=256, help="side of the central square")
    parser.add_argument("--seconds", type=float, default=240, help="start no further image after this time")
    parser.add_argument("--out", type=Path, default=Path("photo_noise.jsonl"))
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    done, started = {(row["kind"], row["image"]) for row in rows}, time.monotonic()
    restorer = Restorer(folders.load(options.run).eval())
    for kind, name, noisy, clean in cases(options):
        if (kind, name) in done:
            continue
        if time.monotonic() - started > options.seconds:
            print("the time is over; the same call continues")
            break
        rows.append({"kind": kind, "image": name} | measured(restorer, noisy, clean))
        with options.out.open("a") as file:
            file.write(json.dumps(rows[-1]) + "\n")
    print(*table(rows), json.dumps(machine()), sep="\n")


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
