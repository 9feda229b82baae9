"""Terminal laws: mean and standard deviation of what a sampler makes of data that are known in closed form.

The data are N(0.3, 0.5²), on which every sampler is affine, so that its law is exact: one run over a batch of unit
vectors, of the start and of the noise of each step. Or they are 1 with probability 0.3 and else -1, for which the law
is that of 512 starts at the quantiles of the prior, and the noise of each step is drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from scipy.integrate import solve_ivp
from scipy.special import ndtri

from genmods.config.builtins import BUILTINS
from genmods.diffusion import ConsistencySampler, Denoise, Estimate, MeanFlowSampler, NoiseProcess, Sampler
from genmods.diffusion.process import per_sample
from support.gaussians import Draws
from support.oracles import Oracle, built_in, processes

STEPS = (1, 2, 3, 5, 8, 20, 100)
MEAN, STD = 0.3, 0.5
SHARE = 0.3
"""The probability of the point 1, the other one being -1."""
STARTS = 512


class Law(NamedTuple):
    """Mean and standard deviation."""

    mean: float
    std: float


@dataclass
class Normal(Oracle):
    """x0 ~ N(MEAN, STD²)."""

    def mean(self, x, alpha, sigma):
        return MEAN + alpha * STD**2 / (alpha**2 * STD**2 + sigma**2) * (x - alpha * MEAN)


@dataclass
class TwoPoints(Oracle):
    """x0 is 1 with probability SHARE, else -1."""

    def mean(self, x, alpha, sigma):
        return torch.tanh(alpha * x / sigma**2 + math.log(SHARE / (1 - SHARE)) / 2)


@dataclass
class FlowEnd(Oracle):
    """Where the probability flow of N(MEAN, STD²) ends: what a consistency model has for x0."""

    def mean(self, x, alpha, sigma):
        return MEAN + STD * (x - alpha * MEAN) / torch.sqrt(alpha**2 * STD**2 + sigma**2)


@dataclass
class Averages(Normal):
    """The estimate on whose line both x_t and the point of the flow at the end of a step lie."""

    def average(self, x, t, end):
        (alpha, sigma), (alpha_end, sigma_end) = (
            (per_sample(self.process.alpha(time), x), per_sample(self.process.sigma(time), x)) for time in (t, end)
        )
        widths = [torch.hypot(a * STD, s) for a, s in ((alpha, sigma), (alpha_end, sigma_end))]
        x_end = alpha_end * MEAN + (x - alpha * MEAN) * widths[1] / widths[0]
        determinant = alpha * sigma_end - alpha_end * sigma
        x0 = (sigma_end * x - sigma * x_end) / determinant
        return Estimate(x0, (alpha * x_end - alpha_end * x) / determinant)


CONSISTENT = {"consistency", "mean_flow"}
"""Samplers of models that know where the flow ends: their law is that of the data at any number of steps."""
MODELS = {ConsistencySampler: FlowEnd, MeanFlowSampler: Averages}
"""What an exact model of a sampler is, if not `Normal`."""


TRUE = {Normal: Law(MEAN, STD), TwoPoints: Law(2 * SHARE - 1, 2 * math.sqrt(SHARE * (1 - SHARE)))}


def all_processes() -> dict[str, NoiseProcess]:
    """Every registered process, discrete forms with 100 levels included, without gradients."""
    return {name: process.requires_grad_(False) for name, process in processes().items()}


def samplers() -> list[str]:
    """Every registered sampler."""
    return [name for name, target in BUILTINS["sampler"].items() if "restoration" not in target]


def made(name: str, steps: int, **settings) -> Sampler | None:
    """A sampler of `steps` steps; None where it refuses so few."""
    try:
        return built_in("sampler", name)(steps=steps, **settings)
    except ValueError:
        return None


def refuses(sampler: Sampler, process: NoiseProcess) -> bool:
    try:
        sampler.time_grid(process)
    except ValueError:
        return True
    return False


def normal_law(process: NoiseProcess, sampler: Sampler, denoise: Denoise | None = None) -> Law:
    """The exact law of `sampler` on N(MEAN, STD²), by a denoiser of these data."""
    size = sampler.steps + 2

    def unit(step):
        noise = torch.zeros(size, 1, dtype=torch.float64)
        noise[step + 2] = 1
        return noise

    model = MODELS.get(type(sampler), Normal)
    x = sampler.sample(denoise or model(process), Draws(unit))
    return Law(x[0].item(), (x[1:] - x[0]).norm().item())


def two_point_law(process: NoiseProcess, sampler: Sampler) -> Law:
    """The law of `sampler` on the two points."""
    generator = torch.Generator().manual_seed(0)

    def noise(step):
        return quantiles() if step < 0 else torch.randn(STARTS, 1, generator=generator, dtype=torch.float64)

    x = sampler.sample(TwoPoints(process), Draws(noise))
    return Law(x.mean().item(), x.std(correction=0).item())


def quantiles() -> torch.Tensor:
    return torch.as_tensor(ndtri((torch.arange(STARTS, dtype=torch.float64) + 0.5) / STARTS).numpy())[:, None]


def ends(process: NoiseProcess) -> tuple[float, float, float, float]:
    """α and σ at `t_max`, then at `t_min`."""
    t = torch.tensor([process.t_max, process.t_min], dtype=torch.float64)
    alpha, sigma = process.alpha(t).tolist(), process.sigma(t).tolist()
    return alpha[0], sigma[0], alpha[1], sigma[1]


def one_step(process: NoiseProcess) -> Law:
    """The law on N(MEAN, STD²) of one step from the prior to noise-free data, E[x0 | x_T]."""
    alpha, sigma, *_ = ends(process)
    gain = alpha * STD**2 / (alpha**2 * STD**2 + sigma**2)
    return Law(MEAN - gain * alpha * MEAN, gain * process.prior_std)


@cache
def split(first: float) -> float:
    """The start over its noise level s = `first` from which the probability flow of the two points goes to neither:
    dz/ds = (z - D(z))/s, solved backwards by scipy from the ridge between them."""
    bias = math.log(SHARE / (1 - SHARE)) / 2
    last = 0.02
    ridge = -bias * last**2
    solved = solve_ivp(
        lambda s, z: (z - math.tanh(z[0] / s**2 + bias)) / s, (last, first), [ridge], method="DOP853", rtol=1e-10
    )
    return solved.y[0, -1] / first


class Allowed(NamedTuple):
    """What the standard deviation of samples may be, over that of the data."""

    low: float
    high: float


USUAL = {
    2: Allowed(0.0, 1.1),
    3: Allowed(0.02, 1.1),
    5: Allowed(0.3, 1.25),
    8: Allowed(0.5, 1.25),
    20: Allowed(0.7, 1.15),
    100: Allowed(0.93, 1.03),
}
"""Few steps end narrower than the data: a step of first order to noise-free data is their mean given x. Higher orders
overshoot at 5 to 8. One step has a separate law, `one_step`."""

KARRAS = {3: Allowed(0.0, 1.1), 5: Allowed(0.1, 1.25), 8: Allowed(0.35, 1.25), 20: Allowed(0.65, 1.2)}

EXCEPTIONS: list[tuple[str, str, str, dict[int, Allowed], str]] = [
    (
        "heun",
        "*",
        "*",
        {5: Allowed(0.3, 1.45), 8: Allowed(0.5, 1.35)},
        "keeps half of a noise that is gone at a step's end",
    ),
    ("dpmpp_3m", "*", "karras", {5: Allowed(0.3, 2.1), 8: Allowed(0.5, 2.2)}, "extrapolates over steps that grow in λ"),
    ("*", "*", "karras", KARRAS, "few of s^(1/7), from up to 850 on, are near the data"),
    ("*", "edm", "uniform", {n: Allowed(0.0, 1.25) for n in USUAL}, "steps of 80/N in σ"),
    ("*", "edm", "quadratic", {n: Allowed(0.0, 1.25) for n in USUAL}, "steps uniform in √σ from 80 on"),
    ("*", "learned", "quadratic", {n: Allowed(0.0, 1.25) for n in (2, 3, 5, 8)}, "√t where the log-SNR is linear in t"),
    ("ddpm", "learned", "quadratic", {20: Allowed(0.65, 1.15)}, "the same, of first order"),
    ("*", "variance_exploding", "quadratic", {n: Allowed(0.0, 1.25) for n in (2, 3, 5)}, "the same"),
]
"""Sampler, process and grid ("" is the default one), what is allowed there, and why."""


def allowed(sampler: str, process: str, grid: str, steps: int) -> Allowed:
    """What the standard deviation of `steps` steps may be, over that of the data."""
    ranges = [USUAL[steps]]
    for *names, exceptions, _ in EXCEPTIONS:
        if all(name in ("*", given) for name, given in zip(names, (sampler, process, grid), strict=True)):
            ranges += [exceptions[steps]] if steps in exceptions else []
    return Allowed(min(r.low for r in ranges), max(r.high for r in ranges))


def faults(sampler: str, process_name: str, process: NoiseProcess, grid: str = "", law=None) -> list[str]:
    """The steps at which the law of a sampler on the normal data is not as allowed, in words."""
    chosen = built_in("grid", grid)() if grid else None
    found = []
    for steps in STEPS:
        one = made(sampler, steps, grid=chosen)
        if one is None or refuses(one, process) or (grid and steps == 100):
            continue
        mean, std = (law or normal_law)(process, one)
        if sampler in CONSISTENT:
            right = abs(std / STD - 1) < 0.01 and abs(mean - MEAN) < 0.02
        elif steps == 1:
            true = one_step(process)
            right = max(abs(mean - true.mean), abs(std - true.std)) < 0.01
        else:
            right = low_to_high(std / STD, allowed(sampler, process_name, grid, steps)) and abs(mean - MEAN) < 0.04
        if not right:
            found.append(
                f"{sampler} on {process_name} {grid} N={steps}: mean {mean:.4f}, std {std / STD:.4f} of the true one"
            )
    return found


def low_to_high(value: float, bounds: Allowed) -> bool:
    return bounds.low <= value <= bounds.high
