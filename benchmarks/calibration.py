"""Calibration of draws at the size of photographs, on a stationary Gaussian field whose denoiser is exact, and on
photographs with a diffusion model.

    python benchmarks/calibration.py --out calibration.jsonl [--side 256] [--calls 20 40]
    python benchmarks/calibration.py --out calibration.jsonl --ckpt_path RUN --n 64

The range of 19 draws should contain the truth in 90 % of the pixels, and the squared error of a draw should be twice
that of their mean (3.01 dB, corrected for the 19), in the missing pixels, or in all pixels of a noisy image. The power
of the periodic field decreases with the square of the frequency above one period in 64 pixels, as that of photographs,
with a standard deviation of 32 grey levels. Each row is written when it is known; a row that is there is not run again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from common import in_bfloat16, machine
from judge import Rows, run_data
from torch import Tensor

from genmods.data.images import to_float
from genmods.diffusion import CosineProcess, NoiseProcess
from genmods.diffusion.prediction import Estimate, consistent
from genmods.diffusion.samplers.dpmpp import DPMpp2MSDESampler
from genmods.restoration import BoxMask, RandomMask
from genmods.restoration.denoising import denoise_samples
from genmods.restoration.operators import Mask
from genmods.restoration.restore import restore
from genmods.runs import folders
from restoration import calibration

DRAWS, STD, CORNER, NOISE = 19, 0.25, 1 / 64, 25
CASES: dict[str, Mask | None] = {
    f"noise {NOISE}": None,
    "box of a quarter": BoxMask(),
    "random 50 %": RandomMask(0.5),
    "random 90 %": RandomMask(0.9),
}


@dataclass(frozen=True)
class GaussianField:
    """A periodic stationary Gaussian field of zero mean, and its exact denoiser."""

    side: int
    process: NoiseProcess

    def power(self) -> Tensor:
        """The variance of each Fourier coefficient (orthonormal), [side, side // 2 + 1]; their mean is `STD`²."""
        rows, columns = torch.fft.fftfreq(self.side), torch.fft.rfftfreq(self.side)
        power = 1 / (rows[:, None].square() + columns.square() + CORNER**2)
        whole = 1 / (rows[:, None].square() + rows.square() + CORNER**2)
        return power * STD**2 / whole.mean()

    def draw(self, n: int, seed: int = 0) -> Tensor:
        """Images [n, 1, side, side]."""
        white = torch.randn(n, 1, self.side, self.side, generator=torch.Generator().manual_seed(seed))
        return self._filtered(white, self.power().sqrt())

    def __call__(self, x_t: Tensor, t: Tensor) -> Estimate:
        alpha, sigma = (value.to(x_t).view(-1, 1, 1, 1) for value in (self.process.alpha(t), self.process.sigma(t)))
        power = self.power().to(x_t)
        x0 = self._filtered(x_t, alpha * power / (alpha**2 * power + sigma**2))
        return consistent(self.process, x_t, x0, t)

    def _filtered(self, x: Tensor, gain: Tensor) -> Tensor:
        return torch.fft.irfft2(gain * torch.fft.rfft2(x), s=(self.side, self.side))


def draws_of(model: Any, images: Tensor, mask: Mask | None, calls: int, method: str) -> tuple[Tensor, Tensor]:
    """Draws [19, n, C, H, W] and the pixels that were not known [1, 1, H, W]."""
    if mask is None:
        sigma = 2 * NOISE / 255
        noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
        sampler, every = DPMpp2MSDESampler(steps=calls), torch.ones(1, 1, *images.shape[2:], dtype=torch.bool)
        return denoise_samples(images + sigma * noise, model, sigma, DRAWS, sampler, batch_size=16), every
    hole = ~mask.known(images[:1]).expand(1, 1, *images.shape[2:])
    return restore(images, mask, model, method, samples=DRAWS, steps=calls, batch_size=16), hole


def measure(options: argparse.Namespace, rows: Rows) -> None:
    wanted = [
        {"model": options.ckpt_path or f"field {options.side}", "case": case, "calls": calls, "n": options.n}
        for case in CASES
        for calls in options.calls
        if case in options.cases
    ]
    left = list(rows.left(wanted))
    if not left:
        return
    if options.ckpt_path:
        model: Any = folders.load(options.ckpt_path).eval().requires_grad_(False)
        if options.precision == "bf16":
            in_bfloat16(model.diffusion_model().denoiser.network)
        images = to_float(run_data(options.ckpt_path).splits["test"].pixels[: options.n])
    else:
        model = GaussianField(options.side, CosineProcess())
        images = model.draw(options.n)
    for point in left:
        begin = time.process_time()
        draws, hole = draws_of(model, images, CASES[point["case"]], point["calls"], options.method)
        seconds = time.process_time() - begin
        rows.add(point | calibration(draws, images, hole) | {"cpu_seconds": seconds, "side": images.shape[-1]})


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Lines of a Markdown table."""
    yield "| model | case | calls | n | coverage | sample over mean, dB | CPU s per draw |"
    yield "|---|---|---|---|---|---|---|"
    for row in rows:
        coverage = f"{100 * row['coverage']:.1f} ± {100 * row['coverage se']:.1f} %"
        cost = row["cpu_seconds"] / row["n"] / DRAWS
        cells = [row["model"], row["case"], row["calls"], row["n"], coverage, f"{row['sample over mean, dB']:.2f}"]
        yield f"| {' | '.join(map(str, cells))} | {cost:.3f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt_path", help="a diffusion model of photographs instead of the field")
    parser.add_argument("--side", type=int, default=256, help="of the field")
    parser.add_argument("--n", type=int, default=4, help="images")
    parser.add_argument("--calls", type=int, nargs="+", default=[20, 40])
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--method", default="auto")
    parser.add_argument("--precision", choices=("32", "bf16"), default="32", help="of the network")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="JSON lines; rows that are there are kept")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = Rows(
        options.out, ("model", "case", "calls", "n"), {"method": options.method, "precision": options.precision}
    )
    measure(options, rows)
    print(*table(rows.rows), json.dumps(machine()), sep="\n")


if __name__ == "__main__":
    main()
