"""Restoration of Fashion-MNIST test images: our methods, classical ones and other libraries', one network for all.

    python benchmarks/restoration.py --ckpt_path RUN [--classifier RUN] [--n 64] [--only denoising inpainting ...]

writes restoration.json and prints tables: every figure with n, its standard error and seconds per image. `--ckpt_path
gaussian` takes a Gaussian fitted to the training images for the network: the full-covariance linear estimate.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import restoration_peers as peers
import torch
from common import machine
from torch import Tensor

from genmods import runs
from genmods.data.sources.mnist import FashionMNIST
from genmods.diffusion import Cosine
from genmods.metrics.features import Features, classifier_features, pixel_features
from genmods.metrics.fidelity import psnr
from genmods.metrics.frechet import frechet_distance
from genmods.metrics.statistics import gaussian_statistics
from genmods.restoration.corruption import GaussianNoise, PoissonNoise, SaltAndPepper, SpeckleNoise
from genmods.restoration.denoising import denoise, denoise_corruption, denoise_samples, noise_level
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
from genmods.table import BUILTINS

MASKS: dict[str, Mask] = {
    "centre 14x14": BoxMask(),
    "right half": HalfMask(),
    "random 50 %": RandomMask(0.5),
    "random 90 %": RandomMask(0.9),
}


def figures(values: Tensor) -> dict[str, Any]:
    """Mean and standard error of PSNR values."""
    return {"psnr": values.mean().item(), "se": (values.std() / len(values) ** 0.5).item(), "n": len(values)}


class Bench:
    """The images, the model, the linear prior and the figures found so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        data = FashionMNIST().read()
        self.options = options
        self.train = data["train"].pixels.float() / 127.5 - 1
        self.test = data["test"].pixels.float() / 127.5 - 1
        self.images = self.test[: options.n]
        self.linear = Gaussian.fit(self.train)
        process = Cosine()
        model: Any = (self.linear.denoise(process), process)
        self.prior = Prior.of(model if options.ckpt_path == "gaussian" else runs.load(options.ckpt_path))
        if options.classifier is None:
            self.features: Features = pixel_features()
        else:
            self.features = classifier_features(runs.load(options.classifier).network)
        self.rows: list[dict[str, Any]] = []

    def fid(self, images: Tensor) -> float:
        """Distance of restored images to the test images that they stem from, in the features' Gaussian statistics."""
        truth = gaussian_statistics(self.features(self.test[: len(images)]))
        return frechet_distance(gaussian_statistics(self.features(images)), truth)

    def measure(
        self,
        group: str,
        case: str,
        name: str,
        run: Callable[[], Tensor],
        truth: Tensor,
        region: Tensor | None = None,
    ) -> Tensor | None:
        """Run a candidate, and keep and print PSNR on the region, its standard error and seconds per image."""
        started = time.perf_counter()
        try:
            result = run()
        except Exception as error:  # a peer that fails is a row of the table, not the end of it
            self.keep(group, case, name, {"error": f"{type(error).__name__}: {error}"})
            return None
        seconds = (time.perf_counter() - started) / len(truth)
        row = figures(psnr(result.float(), truth, region))
        self.keep(group, case, name, {**row, "seconds": seconds})
        return result

    def keep(self, group: str, case: str, name: str, row: dict[str, Any]) -> None:
        self.rows.append({"group": group, "case": case, "name": name, **row})
        cells = "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())
        print(f"{group:<12}{case:<16}{name:<28}{cells}", flush=True)
        self.options.out.write_text(json.dumps({"machine": machine(), "rows": self.rows}, indent=1))


def denoising(bench: Bench) -> None:
    """White noise: PSNR on all pixels (results clipped), and on the foreground alone."""
    x, prior = bench.images, bench.prior
    foreground = x > -1
    for level in (25.0, 50.0):
        case, sigma = f"sigma {level:.0f}", 2 * level / 255
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
            result = bench.measure("denoising", case, name, run, x)
            if result is not None:
                bench.keep("denoising", case, f"{name}, foreground", figures(psnr(result.float(), x, foreground)))


def other_noise(bench: Bench) -> None:
    """Poisson, speckle and salt and pepper against the classical filters made for them."""
    x, prior = bench.images, bench.prior
    keys = torch.arange(len(x))
    poisson, speckle, pepper = PoissonNoise(20), SpeckleNoise(0.4), SaltAndPepper(0.2)
    for case, corruption in (("poisson 20", poisson), ("speckle 0.4", speckle), ("pepper 20 %", pepper)):
        y = corruption(x, keys)
        level = float(corruption.std(x).square().mean().sqrt())
        bench.measure("other", case, "noisy", lambda y=y: y.clamp(-1, 1), x)
        for k in (1, 8):
            run = lambda y=y, c=corruption, k=k: denoise_corruption(y, prior, c, samples=k).mean(0)  # noqa: E731
            bench.measure("other", case, f"ours, {k} x 20 calls", run, x)
        for name, filter_ in (
            ("BM3D", peers.bm3d),
            ("non-local means", peers.non_local_means),
            ("total variation", peers.total_variation),
            ("median", peers.median),
        ):
            bench.measure("other", case, name, lambda f=filter_, y=y, s=level: f(y.clamp(-1, 1), s), x)
            if corruption is poisson:
                bench.measure("other", case, f"Anscombe + {name}", lambda f=filter_, y=y: peers.anscombe(f, y, 20), x)
            if corruption is speckle:
                bench.measure("other", case, f"log + {name}", lambda f=filter_, y=y: peers.logarithmic(f, y, 0.4), x)


def inpainting(bench: Bench) -> None:
    """PSNR in the hole: the mean of 16 samples, one sample, the linear estimate, the classical fillers; FID of each."""
    x, prior = bench.images, bench.prior
    many = bench.test[: bench.options.n_fid]
    for case, mask in MASKS.items():
        known = mask.known(x[:1]).expand(1, 1, *x.shape[2:])
        hole = ~known
        bench.measure(
            "inpainting", case, "mean of 16", lambda m=mask: restore(x, m, prior, samples=16).mean(0), x, hole
        )
        fillers: dict[str, Callable[[Tensor], Tensor]] = {
            "one sample": lambda y, m=mask: restore(y, m, prior)[0],
            "linear": lambda y, m=mask, k=known: torch.where(k, y, bench.linear.posterior_mean(m, m(y)).float()),
            "Telea": lambda y, k=known: peers.opencv(y, k, "INPAINT_TELEA"),
            "Navier-Stokes": lambda y, k=known: peers.opencv(y, k, "INPAINT_NS"),
            "biharmonic": lambda y, k=known: peers.biharmonic(y, k),
        }
        for name, fill in fillers.items():
            result = bench.measure("inpainting", case, name, lambda f=fill, y=many: f(y).clamp(-1, 1), many, hole)
            if result is not None:
                row = {"fid": bench.fid(result.float()), "n": len(many), "features": bench.features.name}
                bench.keep("inpainting", case, f"{name}, FID", row)


def methods(bench: Bench) -> None:
    """Every method of ours at 20 calls, deepinv's DPS at 100 and 1,000, azula's MMPS and DiffPIR at 20."""
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
    x, prior = bench.images, bench.prior
    clean = operator(x)
    y = clean + sigma_y * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    region = ~operator.known(x[:1]).expand(1, 1, *x.shape[2:]) if isinstance(operator, Mask) else None
    candidates: dict[str, Callable[[], Tensor]] = {}
    for name in BUILTINS["method"]:
        method = named_method(name, operator, sigma_y, 20)
        candidates[f"{name} @20"] = lambda m=method: restore(y, operator, prior, m, sigma_y)[0]
    candidates["linear"] = lambda: bench.linear.posterior_mean(operator, y, sigma_y).clamp(-1, 1)
    for name in ("mmps", "diffpir"):
        candidates[f"azula {name} @20"] = lambda n=name: peers.azula(prior, operator, y, sigma_y, 20, n)
    for calls in bench.options.dps:
        candidates[f"deepinv DPS @{calls}"] = lambda c=calls: peers.deepinv_dps(prior, operator, y, sigma_y, c)
    for name, run in candidates.items():
        result = bench.measure("methods", case, name, run, x, region)
        if result is not None:
            bench.keep("methods", case, f"{name}, FID", {"fid": bench.fid(result.float()), "n": len(x)})


def calibration(bench: Bench) -> None:
    """How often the range of 19 samples holds the truth (aim: 90 %), and sample error over mean error (3.01 dB)."""
    x, prior = bench.images, bench.prior
    generator = torch.Generator().manual_seed(0)
    for case, mask in MASKS.items():
        hole = (~mask.known(x[:1])).expand_as(x)
        draws = restore(x, mask, prior, samples=19)
        ties = 1e-6 * torch.rand(draws.shape, generator=generator), 1e-6 * torch.rand(x.shape, generator=generator)
        low, high = (draws + ties[0]).amin(0), (draws + ties[0]).amax(0)
        inside = (x + ties[1] >= low) & (x + ties[1] <= high)
        rows = {"coverage": inside[hole].float().mean().item(), "n": len(x)}
        rows["coverage, foreground"] = inside[hole & (x > -1)].float().mean().item()
        single = (draws - x).square()[:, hole].mean()
        several = (draws.mean(0) - x).square()[hole].mean() / (
            1 + 1 / 19
        )  # the mean of 19 errs by 1 + 1/19 of the MMSE
        rows["sample over mean, dB"] = 10 * torch.log10(single / several).item()
        bench.keep("calibration", case, "19 samples", rows)


GROUPS = {f.__name__: f for f in (denoising, other_noise, inpainting, methods, calibration)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ckpt_path", required=True)
    parser.add_argument("--classifier", help="a classifier's run, for the FID's features (pixels without one)")
    parser.add_argument("--n", type=int, default=64)
    parser.add_argument("--n_fid", type=int, default=500)
    parser.add_argument("--dps", type=int, nargs="*", default=[100, 1000], help="calls of deepinv's DPS")
    parser.add_argument("--only", nargs="*", choices=list(GROUPS), default=list(GROUPS))
    parser.add_argument("--out", type=Path, default=Path("restoration.json"))
    bench = Bench(parser.parse_args())
    for name in bench.options.only:
        GROUPS[name](bench)


if __name__ == "__main__":
    main()
