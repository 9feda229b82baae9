"""Restoration of photographs by networks that were trained for it for equal processor time.

    python benchmarks/photo_restoration.py --clothing DIR --runs DIR --out photo_restoration.jsonl [--seconds 600]

  jpeg  recipes/photos/jpeg.yaml: PSNR of JPEG quality 10, restored, and of the decoded file
  x2    recipes/photos/super_resolution.yaml: PSNR in one call, and of bicubic enlargement
  x4    from 16 to 64 pixels: KID, and PSNR, of one call, of diffusion (recipes/photos/super_resolution_diffusion.yaml,
        10 calls) conditioned on the result of that call, of bicubic enlargement and of the truth, against patches of
        other photographs

JPEG and x2 are measured on the photographs of `benchmarks/photos.py`; small images are bicubic with antialiasing, in 8
bits, and bicubic enlargement has the same kernel. The patches of x4 are two of each photograph of test and validation
at a quarter of its size, the others two of training photographs. Each row is written when it is known; a row that
is in the file is not measured again, and a training that was interrupted is continued.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from common import machine
from equal_time import Budget, add_options, parsed
from judge import Rows, block_kid, in_chunks, kept_features, rounded
from photos import Photo, clothing, library_photographs, mean_and_error, spread
from torch import Tensor

from genmods.config.build import create
from genmods.data.sources.photo_patches import read_photo
from genmods.data.walk import walk
from genmods.metrics.fidelity import psnr
from genmods.restoration import Restorer
from genmods.restoration.corruption import Jpeg
from genmods.restoration.operators import Bicubic

QUALITY, SIDE, CALLS = 10, 64, 10
KEY = ("case", "method", "group", "image")
NETWORKS = {"jpeg": "photos/jpeg.yaml", "x2": "photos/super_resolution.yaml"}
X4 = {
    "one call": ("photos/super_resolution.yaml", "--task.operator={name: bicubic, factor: 4}", "--data.scale=0.25"),
    "diffusion": ("photos/super_resolution_diffusion.yaml",),
}


def key(group: str, image: str) -> dict[str, str]:
    return {"group": group, "image": image}


def enlarged(y: Tensor, factor: int) -> Tensor:
    """Bicubic enlargement with Keys' kernel (a = -1/2), as of Pillow."""
    return F.interpolate(y, scale_factor=factor, mode="bicubic", antialias=True).clamp(-1, 1)


def degraded(case: str, photo: Photo) -> tuple[Tensor, Tensor, Tensor]:
    """The image, its measurement, and the restoration without a network, [1, 3, H, W] each."""
    if case == "jpeg":
        decoded = Jpeg(QUALITY)(photo.image, torch.zeros(1, dtype=torch.int64))
        return photo.image, decoded, decoded
    height, width = (size // 2 * 2 for size in photo.image.shape[2:])
    image = photo.image[:, :, :height, :width]
    small = rounded(Bicubic(2)(image))
    return image, small, enlarged(small, 2)


def fidelity(case: str, options: argparse.Namespace, rows: Rows) -> None:
    """PSNR of each photograph without a network, and with one."""
    photos = spread([*library_photographs(), *clothing(options.clothing, options.every)])
    points = [{"case": case, "method": "one call", "group": photo.group, "image": photo.name} for photo in photos]
    left = list(rows.left(points))
    if not left:
        return
    model, training = Budget.of(options).trained(case, NETWORKS[case])
    for point, photo in zip(points, photos, strict=True):
        if point in left:
            image, measured, before = degraded(case, photo)
            begin = time.process_time()
            result = model.restored(measured)
            found: dict[str, Any] = {"cpu_seconds": time.process_time() - begin, "megapixels": photo.megapixels}
            found |= {"psnr": psnr(result, image).item(), "before": psnr(before, image).item()}
            rows.add(point | found | {"training": training})


def corners(paths: list[Path], n: int) -> Tensor:
    """`n` patches [n, 3, 64, 64], the first and the last of photographs at a quarter of their size, if they are large
    enough."""
    found: list[Tensor] = []
    for path in spread(paths):
        photo = read_photo(path, 0.25).expand(3, -1, -1)
        if min(photo.shape[1:]) >= SIDE:
            found += [photo[:, :SIDE, :SIDE], photo[:, -SIDE:, -SIDE:]]
        if len(found) >= n:
            break
    return rounded(torch.stack(found[:n]))


def perceptual(options: argparse.Namespace, rows: Rows) -> None:
    """KID and PSNR of patches of 64 pixels, restored from 16."""
    wanted = ({"case": "x4", "method": name, "group": "patches", "image": "all"} for name in (*X4, "bicubic", "truth"))
    left = list(rows.left(wanted))
    if not left:
        return
    extractor = create("features", "efficientnet_lite0", weights=options.weights).features()
    folder = options.runs.resolve() / "x4"
    truth = corners([*walk(options.clothing / "test"), *walk(options.clothing / "validation")], options.n)
    others = corners(walk(options.clothing / "train"), options.n)
    reference = kept_features(extractor, others, folder / "reference")
    small = rounded(Bicubic(4)(truth))
    for point in left:
        method, begin, training = point["method"], time.process_time(), {}
        if method in X4:
            recipe, *changes = X4[method]
            name = f"x4_{method.replace(' ', '_')}"
            if method == "diffusion":
                changes.append(f"--task.conditioning.predictor.from={folder.parent / 'x4_one_call/runs/x4_one_call'}")
            model, training = Budget.of(options).trained(name, recipe, *changes)
            begin = time.process_time()
            restorer = Restorer(model, steps=CALLS)

            def restored(rows: slice, restorer: Restorer = restorer) -> Tensor:
                return restorer.restore(small[rows], numbers=torch.arange(len(small))[rows])

            images = in_chunks(restored, len(small), folder / name)
        else:
            images = truth if method == "truth" else enlarged(small, 4)
        seconds = time.process_time() - begin
        kid, error = block_kid(kept_features(extractor, images, folder / f"features_{method}"), reference)
        found: dict[str, Any] = {"n": len(images), "kid": kid, "kid_se": error, "features": extractor.name}
        found |= {"psnr": psnr(images, truth).mean().item(), "cpu_seconds": seconds, "training": training}
        rows.add(point | found)


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Lines of Markdown tables."""
    yield "| case | images | n | before | restored | gain, dB | CPU s per megapixel | steps |"
    yield "|---|---|---|---|---|---|---|---|"
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["case"], row["group"]), []).append(row)
    for (case, group), found in groups.items():
        if case in NETWORKS:
            cost = sum(row["cpu_seconds"] for row in found) / sum(row["megapixels"] for row in found)
            cells = [mean_and_error([row[name] for row in found]) for name in ("before", "psnr")]
            cells.append(mean_and_error([row["psnr"] - row["before"] for row in found]))
            steps = found[0]["training"]["steps"]
            yield f"| {case} | {group} | {len(found)} | {' | '.join(cells)} | {cost:.2f} | {steps} |"
    yield "\n| x4 | n | KID | PSNR | CPU s per image | steps |\n|---|---|---|---|---|---|"
    for row in groups.get(("x4", "patches"), []):
        kid, seconds = f"{row['kid']:.4f} ± {row['kid_se']:.4f}", row["cpu_seconds"] / row["n"]
        steps = row["training"].get("steps", "-")
        yield f"| {row['method']} | {row['n']} | {kid} | {row['psnr']:.2f} | {seconds:.3f} | {steps} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--only", nargs="*", choices=[*NETWORKS, "x4"], default=[*NETWORKS, "x4"])
    parser.add_argument("--every", type=int, default=6, help="1 takes all images of the test folder")
    parser.add_argument("--weights", help="efficientnet-lite0-57934424.pth; by default that of the package")
    parser.add_argument("--n", type=int, default=1024, help="patches of x4")
    options = parsed(parser)
    rows = Rows(options.out, KEY, {"seconds": options.seconds, "changes": options.set})
    for case in options.only:
        perceptual(options, rows) if case == "x4" else fidelity(case, options, rows)
    print(*table(rows.rows), json.dumps(machine()), sep="\n")


if __name__ == "__main__":
    main()
