"""Restoration of Fashion-MNIST test images: our methods, classical ones and other libraries', one network for all.

    python benchmarks/restoration.py --ckpt_path RUN [--classifier RUN] [--n 64] [--only denoising inpainting ...]

prints tables and writes restoration.json, and does not repeat existing rows. Each row has n and
its standard error, the PSNR averaged over images and the PSNR of the squared error averaged over images ("pooled"), and
the seconds of processor time an image (one thread). `--ckpt_path gaussian` takes a Gaussian fitted to the training
images for the network: the full-covariance linear estimate.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import restoration_peers as peers
import torch
from common import in_bfloat16, machine
from torch import Tensor

from genmods.config.builtins import BUILTINS
from genmods.data.sources.mnist import FashionMNIST
from genmods.diffusion import CosineProcess
from genmods.metrics.features import Features, classifier_features, pixel_features
from genmods.metrics.fidelity import psnr
from genmods.metrics.frechet import frechet_distance
from genmods.metrics.statistics import gaussian_statistics
from genmods.restoration.corrupted import denoise_corruption
from genmods.restoration.corruption import GaussianNoise, PoissonNoise, SaltAndPepper, SpeckleNoise
from genmods.restoration.denoising import denoise, denoise_samples, noise_level
from genmods.restoration.gaussian import Gaussian
from genmods.restoration.operators import (
    Average,
    BoxMask,
    GaussianBlur,
    HalfMask,
    Identity,
    Mask,
    Operator,
    RandomMask,
)
from genmods.restoration.prior import Prior
from genmods.restoration.restore import named_method, restore
from genmods.runs import folders

MASKS: dict[str, Mask] = {
    "centre 14x14": BoxMask(),
    "right half": HalfMask(),
    "random 50 %": RandomMask(0.5),
    "random 90 %": RandomMask(0.9),
}


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """The mean of `values` [n] and its standard error."""
    return values.mean().item(), (values.std() / len(values) ** 0.5).item()


def figures(result: Tensor, truth: Tensor, region: Tensor | None = None) -> dict[str, Any]:
    """PSNR averaged over images, that of the averaged error, and their standard errors."""
    decibels = psnr(result.float(), truth, region).double()
    mean, error = mean_and_error(decibels)
    power, spread = mean_and_error(10 ** (-decibels / 10))
    pooled, pooled_error = -10 * math.log10(power), 10 / math.log(10) * spread / power
    return {"psnr": mean, "se": error, "pooled": pooled, "pooled_se": pooled_error, "n": len(truth)}


class Bench:
    """The images, the model, the linear prior and the figures found so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        data = FashionMNIST().read()
        self.options = options
        self.train = data["train"].pixels.float() / 127.5 - 1
        self.test = data["test"].pixels.float() / 127.5 - 1
        self.images = self.test[: options.n]
        self.linear = Gaussian.fit(self.train)
        model: Any = self.linear.denoise(CosineProcess())
        if options.ckpt_path != "gaussian":
            model = folders.load(options.ckpt_path).requires_grad_(False)
            if options.precision == "bf16":
                in_bfloat16(model.diffusion_model().denoiser.network)
        self.prior = Prior.of(model)
        if options.classifier is None:
            self.features: Features = pixel_features()
        else:
            self.features = classifier_features(folders.load(options.classifier))
        self.rows: list[dict[str, Any]] = json.loads(options.out.read_text())["rows"] if options.out.exists() else []

    def fid(self, images: Tensor) -> dict[str, Any]:
        """Distance of restored images to the test images that they stem from, in the features' Gaussian statistics."""
        truth = gaussian_statistics(self.features(self.test[: len(images)]))
        found = frechet_distance(gaussian_statistics(self.features(images.float())), truth)
        return {"fid": found, "features": self.features.name}

    def measure(
        self, group: str, case: str, name: str, run: Callable[[], Tensor], score: Callable[[Tensor], dict[str, Any]]
    ) -> None:
        """Run a candidate, and keep and print its scores and its seconds of processor time an image."""
        key = {"group": group, "case": case, "name": name}
        if any(key.items() <= row.items() for row in self.rows) or not re.search(
            self.options.match, f"{group}, {case}, {name}"
        ):
            return
        started = time.process_time()
        try:
            result = run()
            row = {"seconds": time.process_time() - started}
            row = score(result) | row
            row["seconds"] /= row["n"]
        except Exception as error:  # a peer that fails is a row of the table, not the end of it
            row = {"error": f"{type(error).__name__}: {error}"}
        self.rows.append({**key, **row})
        cells = "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())
        print(f"{group:<12}{case:<16}{name:<28}{cells}", flush=True)
        self.options.out.write_text(json.dumps({"machine": machine(), "rows": self.rows}, indent=1))


def denoising(bench: Bench) -> None:
    """White noise: PSNR on all pixels (results clipped), and on the foreground alone."""
    x, prior = bench.images, bench.prior

    def score(result: Tensor) -> dict[str, Any]:
        return figures(result, x) | {"foreground": figures(result, x, x > -1)["psnr"]}

    for level in (25.0, 50.0):
        sigma = 2 * level / 255
        y = GaussianNoise(level)(x, torch.arange(len(x)))
        candidates: dict[str, Callable[[], Tensor]] = {
            "noisy": lambda y=y: y,
            "one call": lambda y=y, s=sigma: denoise(y, prior, s),
            "one call, blind": lambda y=y: denoise(y, prior, noise_level(y, prior)),
            "one sample, 20 calls": lambda y=y, s=sigma: denoise_samples(y, prior, s, 1)[0],
            "Wiener": lambda y=y, s=sigma: bench.linear.posterior_mean(Identity(), y, s).clamp(-1, 1),
            "BM3D": lambda y=y, s=sigma: peers.bm3d(y, s),
            "total variation": lambda y=y, s=sigma: peers.total_variation(y, s),
            "non-local means": lambda y=y, s=sigma: peers.non_local_means(y, s),
        }
        for name, run in candidates.items():
            bench.measure("denoising", f"sigma {level:.0f}", name, run, score)


def other_noise(bench: Bench) -> None:
    """Poisson, speckle and salt and pepper against the classical filters made for them."""
    x, prior = bench.images, bench.prior
    poisson, speckle, pepper = PoissonNoise(20), SpeckleNoise(0.4), SaltAndPepper(0.2)
    for case, corruption in (("poisson 20", poisson), ("speckle 0.4", speckle), ("pepper 20 %", pepper)):
        y = corruption(x, torch.arange(len(x)))
        level = float(corruption.std(x).square().mean().sqrt())
        candidates: dict[str, Callable[[], Tensor]] = {
            "noisy": lambda y=y: y.clamp(-1, 1),
            "ours": lambda y=y, c=corruption: denoise_corruption(y, prior, c).mean(0),
        }
        for name, filter_ in (
            ("BM3D", peers.bm3d),
            ("non-local means", peers.non_local_means),
            ("total variation", peers.total_variation),
            ("median", peers.median),
        ):
            candidates[name] = lambda f=filter_, y=y, s=level: f(y.clamp(-1, 1), s)
            if corruption is poisson:
                candidates[f"Anscombe + {name}"] = lambda f=filter_, y=y: peers.anscombe(f, y, 20)
            if corruption is speckle:
                candidates[f"log + {name}"] = lambda f=filter_, y=y: peers.logarithmic(f, y, 0.4)
        for name, run in candidates.items():
            bench.measure("other", case, name, run, lambda result: figures(result, x))


def inpainting(bench: Bench) -> None:
    """The hole: 19 draws, their mean of 16 and their calibration; one draw and the classical fillers with their FID."""
    x, prior, steps = bench.images, bench.prior, bench.options.steps
    many = bench.test[: bench.options.n_fid]
    for case, mask in MASKS.items():
        known = mask.known(x[:1]).expand(1, 1, *x.shape[2:])
        hole = ~known

        def score(draws: Tensor, hole: Tensor = hole) -> dict[str, Any]:
            return figures(draws[:16].mean(0), x, hole) | calibration(draws, x, hole)

        def score_one(result: Tensor, hole: Tensor = hole) -> dict[str, Any]:
            return figures(result, many, hole) | bench.fid(result)

        bench.measure(
            "inpainting",
            case,
            f"mean of 16, {steps} calls",
            lambda m=mask: restore(x, m, prior, samples=19, steps=steps),
            score,
        )
        fillers: dict[str, Callable[[], Tensor]] = {
            "one sample, 20 calls": lambda m=mask: restore(many, m, prior)[0],
            "linear": lambda m=mask, k=known: torch.where(k, many, bench.linear.posterior_mean(m, m(many))).clamp(
                -1, 1
            ),
            "Telea": lambda k=known: peers.opencv(many, k, "INPAINT_TELEA"),
            "Navier-Stokes": lambda k=known: peers.opencv(many, k, "INPAINT_NS"),
            "biharmonic": lambda k=known: peers.biharmonic(many, k),
        }
        for name, run in fillers.items():
            bench.measure("inpainting", case, name, run, score_one)


def calibration(draws: Tensor, x: Tensor, hole: Tensor) -> dict[str, float]:
    """How often the range of `draws` [19, n, ...] holds the truth in the hole (aim: 90 %), and a draw's error over that
    of the posterior's mean (aim: 3.01 dB; the mean of 19 errs by 1 + 1/19 of it). Ties are broken at random."""
    generator = torch.Generator().manual_seed(0)
    drawn = draws + 1e-6 * torch.rand(draws.shape, generator=generator)
    truth = x + 1e-6 * torch.rand(x.shape, generator=generator)
    inside = (truth >= drawn.amin(0)) & (truth <= drawn.amax(0))
    rows: dict[str, float] = {}
    for name, region in (("coverage", hole.expand_as(x)), ("foreground coverage", hole & (x > -1))):
        size = region.flatten(1).sum(1)
        share = ((inside & region).flatten(1).sum(1) / size)[size > 0]
        rows[name], rows[f"{name} se"] = mean_and_error(share)
    single = (draws - x).square()[:, hole.expand_as(x)].mean()
    several = (draws.mean(0) - x).square()[hole.expand_as(x)].mean() / (1 + 1 / len(draws))
    return rows | {"sample over mean, dB": 10 * math.log10(single / several)}


def methods(bench: Bench) -> None:
    """Every method of ours at 20 calls, deepinv's DPS at 100 and 1,000, azula's MMPS and DiffPIR at about the same
    time."""
    cases: list[tuple[str, Operator, float]] = [
        ("centre 14x14", BoxMask(), 0.0),
        ("random 50 %", RandomMask(0.5), 0.0),
        ("random 50 %, 25", RandomMask(0.5), 50 / 255),
        ("average 4", Average(4), 0.0),
        ("blur 1.5, 5", GaussianBlur(1.5), 10 / 255),
    ]
    for case, operator, sigma_y in cases:
        _compare(bench, case, operator, sigma_y)


def _compare(bench: Bench, case: str, operator: Operator, sigma_y: float) -> None:
    x, prior = bench.test[: bench.options.n_fid], bench.prior
    clean = operator(x)
    y = clean + sigma_y * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    region = ~operator.known(x[:1]).expand(1, 1, *x.shape[2:]) if isinstance(operator, Mask) else None
    candidates: dict[str, Callable[[], Tensor]] = {}
    for name in BUILTINS["method"]:
        method = named_method(name, operator, sigma_y, 20)
        candidates[f"{name} @20"] = lambda m=method: restore(y, operator, prior, m, sigma_y)[0]
    candidates["linear"] = lambda: bench.linear.posterior_mean(operator, y, sigma_y).clamp(-1, 1)
    for name, calls in (("mmps", 20), ("diffpir", 20), ("diffpir", 70)):
        candidates[f"azula {name} @{calls}"] = lambda n=name, c=calls: peers.azula(prior, operator, y, sigma_y, c, n)
    for calls in bench.options.dps:
        candidates[f"deepinv DPS @{calls}"] = lambda c=calls: peers.deepinv_dps(prior, operator, y, sigma_y, c)
    for name, run in candidates.items():
        bench.measure("methods", case, name, run, lambda result: figures(result, x, region) | bench.fid(result))


GROUPS = {f.__name__: f for f in (denoising, other_noise, inpainting, methods)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ckpt_path", required=True)
    parser.add_argument("--classifier", help="a classifier's run, for the FID's features (pixels without one)")
    parser.add_argument("--n", type=int, default=64, help="images restored several times, or denoised")
    parser.add_argument("--n_fid", type=int, default=500, help="images restored once by each method")
    parser.add_argument("--steps", type=int, default=20, help="calls of a draw whose calibration is measured")
    parser.add_argument("--dps", type=int, nargs="*", default=[100, 1000], help="calls of deepinv's DPS")
    parser.add_argument("--match", default="", help="only rows whose `group, case, name` fits this regular expression")
    parser.add_argument("--precision", choices=("32", "bf16"), default="32", help="of the network, for every method")
    parser.add_argument("--only", nargs="*", choices=list(GROUPS), default=list(GROUPS))
    parser.add_argument("--out", type=Path, default=Path("restoration.json"))
    bench = Bench(parser.parse_args())
    torch.set_num_threads(1)
    for name in bench.options.only:
        GROUPS[name](bench)


if __name__ == "__main__":
    main()
