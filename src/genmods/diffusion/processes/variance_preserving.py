"""Variance preserving processes: α² + σ² = 1, defined by the integrated rate B(t) = ∫ β with B(0) = 0:

    α² = exp(-B),    σ² = 1 - exp(-B),    log-SNR = -ln(exp(B) - 1),    dα/dt = -β α/2,    dσ/dt = β α²/(2σ).

With `steps` = T the process is the discrete one of DDPM: levels t = i/T with ᾱ_i = Π (1 - β_i) exactly, and B linear
between them (a constant rate within each step), so that every sampler and grid can be used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Le, Lt
from torch import Tensor
from torch.nn.functional import softplus

from genmods.core.devices import to_float64
from genmods.core.settings import Positive
from genmods.diffusion.process import LOG_SNR_LIMIT, NoiseProcess

MAX_BETA = 0.999
"""The largest β of a discrete level (Nichol and Dhariwal 2021), which keeps the last SNR positive."""

NoiseLevels = Annotated[int, Ge(2), Le(100_000)]
"""Number of levels of a discrete process."""
LeastLogSNR = Annotated[float, Ge(-2 * LOG_SNR_LIMIT), Lt(0)]
"""The log-SNR at which a continuous process ends."""


class VariancePreservingProcess(NoiseProcess):
    """α² + σ² = 1; a subclass defines the integral of β, β itself, and the inverse of the integral."""

    def integral(self, t: Tensor) -> Tensor:
        """B at times `t`, float64, of the shape of `t` [...]."""
        raise NotImplementedError

    def rate(self, t: Tensor) -> Tensor:
        """β = dB/dt at times `t`, float64, of the shape of `t` [...]."""
        raise NotImplementedError

    def inverse(self, integral: Tensor) -> Tensor:
        """The time at which B is `integral` [...], float64, of its shape."""
        raise NotImplementedError

    def integral_and_rate(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """B and β at times `t`, float64, of the shape of `t` [...]."""
        return self.integral(t), self.rate(t)

    def alpha(self, t: Tensor) -> Tensor:
        return torch.exp(-self.integral(to_float64(t)) / 2)

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sqrt(-torch.expm1(-self.integral(to_float64(t))))

    def alpha_rate(self, t: Tensor) -> Tensor:
        integral, rate = self.integral_and_rate(to_float64(t))
        return -rate / 2 * torch.exp(-integral / 2)

    def sigma_rate(self, t: Tensor) -> Tensor:
        integral, rate = self.integral_and_rate(to_float64(t))
        return rate / 2 * torch.exp(-integral) / torch.sqrt(-torch.expm1(-integral))

    def log_snr(self, t: Tensor) -> Tensor:
        integral = self.integral(to_float64(t))
        return -integral - torch.log(-torch.expm1(-integral))

    def log_snr_rate(self, t: Tensor) -> Tensor:
        integral, rate = self.integral_and_rate(to_float64(t))
        return rate / torch.expm1(-integral)

    def time(self, log_snr: Tensor) -> Tensor:
        return self.inverse(softplus(-to_float64(log_snr), threshold=100.0))


class Rate:
    """A rate β(t) on [0, 1] in closed form, with its integral and the inverse of the integral; float64, any shape
    [...]."""

    def __call__(self, t: Tensor) -> Tensor:
        """β at times `t`, float64 of any shape."""
        raise NotImplementedError

    def integral(self, t: Tensor) -> Tensor:
        """B(t) [...], the integral of β from 0 to `t` [...]."""
        raise NotImplementedError

    def inverse(self, integral: Tensor) -> Tensor:
        """The time [...] at which B is `integral` [...]."""
        raise NotImplementedError

    def betas(self, steps: int) -> Tensor:
        """β_i = 1 - ᾱ_i/ᾱ_{i-1} [T] of the discrete levels i = 1 ... T for T = `steps`, at most `MAX_BETA`."""
        knots = self.integral(torch.arange(steps + 1, dtype=torch.float64) / steps)
        return (-torch.expm1(-knots.diff())).clamp(max=MAX_BETA)


class RateProcess(VariancePreservingProcess):
    """The variance preserving process of a `Rate`.

    Args:
        beta: The rate β(t).
        steps: Number of discrete levels i/steps, i = 1 ... steps, at least 2; None for a continuous process.
        log_snr_min: The log-SNR, in [-27, 0), at which a continuous process ends: a schedule with zero terminal SNR
            would divide by 0.
    """

    knots: Tensor | None

    def __init__(self, beta: Rate, steps: NoiseLevels | None = None, log_snr_min: LeastLogSNR = -10.0):
        super().__init__(None if steps is None else torch.arange(1, steps + 1, dtype=torch.float64) / steps)
        self.beta = beta
        self.register_buffer("knots", None if steps is None else _knots(beta, steps), persistent=False)
        ends = self.time(torch.tensor([LOG_SNR_LIMIT, log_snr_min], dtype=torch.float64)).tolist()
        self.t_min_trained, self.t_max = (ends[0], min(ends[1], 1.0)) if steps is None else (1 / steps, 1.0)

    def integral(self, t: Tensor) -> Tensor:
        return self.integral_and_rate(t)[0] if self.knots is not None else self.beta.integral(t)

    def rate(self, t: Tensor) -> Tensor:
        return self.integral_and_rate(t)[1] if self.knots is not None else self.beta(t)

    def integral_and_rate(self, t: Tensor) -> tuple[Tensor, Tensor]:
        if self.knots is None:
            return super().integral_and_rate(t)
        knots, steps = self.knots.to(t.device), len(self.knots) - 1
        left = (t * steps - 1e-9).ceil().long().sub(1).clamp(0, steps - 1)
        start = knots.take(left)
        rate = (knots.take(left + 1) - start) * steps
        return start + rate / steps * (t * steps - left), rate

    def inverse(self, integral: Tensor) -> Tensor:
        if self.knots is None:
            return self.beta.inverse(integral)
        knots, steps = self.knots.to(integral.device), len(self.knots) - 1
        left = torch.searchsorted(knots, integral).sub(1).clamp(0, steps - 1)
        start = knots.take(left)
        return (left + (integral - start) / (knots.take(left + 1) - start)) / steps


def _knots(beta: Rate, steps: int) -> Tensor:
    """B at t = 0 and at each of `steps` levels."""
    betas = beta.betas(steps)
    return torch.cat([torch.zeros(1, dtype=torch.float64), -torch.log1p(-betas).cumsum(0)])


@dataclass(frozen=True)
class LinearRate(Rate):
    """β(t) = beta_min + t (beta_max - beta_min), for times of any shape [...]."""

    beta_min: float
    beta_max: float

    def __call__(self, t: Tensor) -> Tensor:
        return self.beta_min + t * (self.beta_max - self.beta_min)

    def integral(self, t: Tensor) -> Tensor:
        return t * (self.beta_min + t * (self.beta_max - self.beta_min) / 2)

    def inverse(self, integral: Tensor) -> Tensor:
        slope = self.beta_max - self.beta_min
        return 2 * integral / (self.beta_min + torch.sqrt(self.beta_min**2 + 2 * slope * integral))

    def betas(self, steps: int) -> Tensor:
        return torch.linspace(self.beta_min, self.beta_max, steps, dtype=torch.float64) / steps


class LinearProcess(RateProcess):
    """β(t) = beta_min + t (beta_max - beta_min) (Ho et al. 2020; continuous: Song et al. 2021, equation 32).

    The levels of a discrete process have β_i from beta_min/steps to beta_max/steps: 1e-4 to 0.02 for 1,000 steps.
    """

    def __init__(
        self,
        steps: NoiseLevels | None = None,
        beta_min: Positive = 0.1,
        beta_max: Annotated[float, Ge("beta_min"), Lt("steps")] = 20.0,
    ):
        super().__init__(LinearRate(beta_min, beta_max), steps, log_snr_min=-2 * LOG_SNR_LIMIT)


@dataclass(frozen=True)
class CosineRate(Rate):
    """β of 1 - ᾱ = sin(φ - φ0) sin(φ + φ0)/cos²φ0, φ from φ0 at t = 0 to π/2 at t = 1, for times of any shape [...]."""

    offset: float

    def _angles(self, t: Tensor) -> tuple[Tensor, float]:
        scale = math.pi / 2 / (1 + self.offset)
        return (t + self.offset) * scale, self.offset * scale

    def __call__(self, t: Tensor) -> Tensor:
        return torch.tan(self._angles(t)[0]) * math.pi / (1 + self.offset)

    def integral(self, t: Tensor) -> Tensor:
        phi, phi0 = self._angles(t)
        variance = torch.sin(phi - phi0) * torch.sin(phi + phi0) / math.cos(phi0) ** 2
        return -torch.log1p(-variance)

    def inverse(self, integral: Tensor) -> Tensor:
        phi0 = self._angles(integral)[1]
        sine = torch.sqrt(math.sin(phi0) ** 2 - math.cos(phi0) ** 2 * torch.expm1(-integral))
        phi = torch.atan2(sine, math.cos(phi0) * torch.exp(-integral / 2))
        return (phi - phi0) / (math.pi / 2 - phi0)


class CosineProcess(RateProcess):
    """ᾱ(t) = cos²φ/cos²φ0 with φ = (t + offset)/(1 + offset) π/2 and φ0 = φ(0) (Nichol and Dhariwal 2021)."""

    def __init__(
        self,
        steps: NoiseLevels | None = None,
        offset: Annotated[float, Ge(0), Lt(1)] = 0.008,
        log_snr_min: LeastLogSNR = -10.0,
    ):
        super().__init__(CosineRate(offset), steps, log_snr_min)


@dataclass(frozen=True)
class SigmoidRate(Rate):
    """β of a variance 1 - ᾱ that is logistic in t, for times of any shape [...]."""

    start: float
    end: float
    tau: float

    def _levels(self, t: Tensor) -> tuple[Tensor, float, float]:
        u0, u1 = self.start / self.tau, self.end / self.tau
        return torch.sigmoid(u0 + t * (u1 - u0)), 1 / (1 + math.exp(-u0)), 1 / (1 + math.exp(-u1))

    def __call__(self, t: Tensor) -> Tensor:
        level, _, last = self._levels(t)
        return level * (1 - level) * (self.end - self.start) / self.tau / (last - level)

    def integral(self, t: Tensor) -> Tensor:
        level, first, last = self._levels(t)
        return -torch.log1p(-((level - first) / (last - first)).clamp(0, 1))

    def inverse(self, integral: Tensor) -> Tensor:
        _, first, last = self._levels(integral)
        u = torch.logit(first - (last - first) * torch.expm1(-integral))
        return (u * self.tau - self.start) / (self.end - self.start)


class SigmoidProcess(RateProcess):
    """1 - ᾱ(t) = (S(u) - S(u0))/(S(u1) - S(u0)), S logistic, u from start/tau to end/tau (Jabri et al. 2022)."""

    def __init__(
        self,
        steps: NoiseLevels | None = None,
        start: Annotated[float, Ge(-50), Lt("end")] = -3.0,
        end: Annotated[float, Le(50)] = 3.0,
        tau: Annotated[float, Ge(0.1)] = 1.0,
        log_snr_min: LeastLogSNR = -10.0,
    ):
        super().__init__(SigmoidRate(start, end, tau), steps, log_snr_min)
