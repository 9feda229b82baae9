"""Denoisers of photographs that were trained on noisy images alone, and CBM3D, after equal training.

    python benchmarks/noisy_alone.py --clothing DIR --runs DIR --out noisy_alone.jsonl --steps 2000

White noise of sigma 25: supervised training, Noise2Noise, SURE, Noise2Void and R2R; nine tenths of the steps at a
quarter and half of the resolution (`task.coarse`), and supervised training without them for comparison.
Poisson-Gaussian noise (30 photons on white, read noise of 3 of 255): supervised training and Noise2Noise, and CBM3D
behind the generalised Anscombe transform with its unbiased inverse. Each epoch adds other noise to a training patch;
only supervised training uses the clean patches. All are measured on the photographs of `benchmarks/photos.py`, CBM3D
on `--n_peer` of them (two minutes per megapixel), and the mean of four flips as `METHOD_flips`. Each row
is written when it is known; a row that is in the file is not measured again, and an interrupted training is continued.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from typing import Any

import restoration_peers as peers
import torch
from common import machine
from equal_time import Budget, add_options, fitted_ema, parsed
from judge import Rows
from photos import Denoiser, Photo, cbm3d, clothing, library_photographs, mean_and_error, spread

from genmods.core import random
from genmods.metrics.fidelity import psnr
from genmods.restoration.corruption import Corruption, GaussianNoise, PoissonNoise
from genmods.restoration.flips import Flipped
from genmods.restoration.mixtures import Chain

PEAK, READ, SEED = 30.0, 3.0, 25
NOISES: dict[str, Corruption] = {"white": GaussianNoise(25), "sensor": Chain([PoissonNoise(PEAK), GaussianNoise(READ)])}
RECIPES = {
    "white": "--task.corruption={name: gaussian, sigma: 25}",
    "sensor": f"--task.corruption={{name: chain, corruptions: [{{name: poisson, peak: {PEAK}}}, "
    f"{{name: gaussian, sigma: {READ}}}]}}",
}
COARSE = ("--task.coarse=0.9", "--data.image_size=128", "--data.per_image=4")
METHODS: dict[str, tuple[str, ...]] = {
    "supervised": ("--task.loss=supervised", *COARSE),
    "noise2noise": ("--task.loss=noise2noise", *COARSE),
    "sure": ("--task.loss=sure", *COARSE),
    "noise2void": ("--task.loss={name: noise2void, fraction: 0.1, each_channel: true}", *COARSE),
    "recorrupted": ("--task.loss=recorrupted", *COARSE),
    "supervised_fine": ("--task.loss=supervised",),
}
CASES = [
    *(("white", method) for method in ("supervised", "noise2noise", "sure", "noise2void")),
    *(("sensor", method) for method in ("supervised", "noise2noise")),
    *(("white", method) for method in ("supervised_fine", "recorrupted")),
]
PEER = "cbm3d"


def peer(noise: str) -> Denoiser:
    """CBM3D with the noise known."""

    def of_scale(z: torch.Tensor, sigma: float) -> torch.Tensor:
        return cbm3d(z, 127.5 * sigma)

    if noise == "white":
        return lambda y, _: cbm3d(y, 25)
    return lambda y, _: peers.anscombe(of_scale, y, PEAK, READ / 255 * PEAK)


def blind(model: Any) -> Denoiser:
    """One call of a network that does not receive the noise level."""
    return lambda y, _: model.restored(y)


def measured(denoise: Denoiser, photo: Photo, noise: str) -> dict[str, Any]:
    """PSNR and processor time of one photograph."""
    noisy = NOISES[noise](photo.image, random.fold(SEED, torch.tensor([photo.number])))
    begin = time.process_time()
    result = denoise(noisy, SEED).clamp(-1, 1)
    seconds = time.process_time() - begin
    figures = {"psnr": psnr(result, photo.image).item(), "noisy": psnr(noisy.clamp(-1, 1), photo.image).item()}
    return figures | {"cpu_seconds": seconds, "megapixels": photo.megapixels}


def measure(options: argparse.Namespace, rows: Rows) -> None:
    """The missing rows, training by training."""
    budget = Budget.of(options)
    photos = spread([*library_photographs(), *clothing(options.clothing, options.every)])
    for noise, method in [case for case in CASES if f"{case[0]}_{case[1]}" in options.only]:
        names = method, f"{method}_flips"
        if not list(rows.left(_point(noise, name, photo) for name in names for photo in photos)):
            continue
        changes = RECIPES[noise], "--task.level=blind", *METHODS[method]
        model, training = budget.trained(f"{noise}_{method}", "photos/denoise.yaml", *changes, fitted=fitted)
        for name, restorer in zip(names, (model, Flipped(model)), strict=True):
            add(rows, noise, name, blind(restorer), photos, {"training": training})
    for noise in dict.fromkeys(case.split("_")[0] for case in options.only):
        add(rows, noise, PEER, peer(noise), photos[: options.n_peer], {})


def add(rows: Rows, noise: str, method: str, denoise: Denoiser, photos: list[Photo], more: dict[str, Any]) -> None:
    """The missing rows of a method."""
    for photo in photos:
        for point in rows.left([_point(noise, method, photo)]):
            rows.add(point | measured(denoise, photo, noise) | more)


def fitted(steps: int) -> list[str]:
    return [f"--callbacks={json.dumps([fitted_ema(steps)])}"]


def _point(noise: str, method: str, photo: Photo) -> dict[str, Any]:
    return {"noise": noise, "method": method, "group": photo.group, "image": photo.name}


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Lines of a Markdown table: differences are paired by image."""
    yield "| noise | images | method | n | PSNR | minus supervised | minus CBM3D | CPU s / MP | steps | CPU s |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    known = {tuple(row[name] for name in KEY): row["psnr"] for row in rows}

    def difference(found: list[dict[str, Any]], other: str) -> str:
        pairs = [(row["psnr"], known.get(tuple((row | {"method": other})[name] for name in KEY))) for row in found]
        gains = [ours - theirs for ours, theirs in pairs if theirs is not None]
        return mean_and_error(gains) if gains and found[0]["method"] != other else "-"

    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["noise"], row["group"], row["method"]), []).append(row)
    for group, found in sorted(groups.items()):
        cost = sum(row["cpu_seconds"] for row in found) / sum(row["megapixels"] for row in found)
        shown = [*group, str(len(found)), mean_and_error([row["psnr"] for row in found])]
        shown += [difference(found, other) for other in ("supervised", PEER)]
        training = [str(found[0].get("training", {}).get(name, "-")) for name in ("steps", "cpu_seconds")]
        yield f"| {' | '.join([*shown, f'{cost:.2f}', *training])} |"


KEY = ("noise", "method", "group", "image")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    names = [f"{noise}_{method}" for noise, method in CASES]
    parser.add_argument("--only", nargs="*", default=names[:7], choices=names, help="trainings")
    parser.add_argument("--every", type=int, default=6, help="1 takes all images of the test folder")
    parser.add_argument("--n_peer", type=int, default=20, help="photographs of CBM3D")
    options = parsed(parser)
    rows = Rows(options.out, KEY, {"seconds": options.seconds, "steps": options.steps, "changes": options.set})
    measure(options, rows)
    print(*table(rows.rows), json.dumps(machine()), sep="\n")


if __name__ == "__main__":
    main()
