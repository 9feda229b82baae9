"""Parameterisations of the network output: F = a x0 + b ε at x_t = α x0 + σ ε.

Solving the two equations for x0 and ε decodes every prediction:

    D = α b - σ a,    x0 = (b x_t - σ F)/D,    ε = (α F - a x_t)/D.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from genmods.core.settings import SigmaData, Validated
from genmods.diffusion.process import NoiseProcess, per_sample


class Estimate(NamedTuple):
    """A denoiser's estimate at x_t.

    Attributes:
        x0: The data [B, ...], E[x0 | x_t] for an exact denoiser.
        eps: The noise [B, ...]; x_t = α x0 + σ ε, unless guidance changes only one of them.
        var_fraction: The reverse variance as a logarithmic position in [0, 1] between its bounds
            (`genmods.diffusion.variance`) [B, ...], if the network predicts it; otherwise None.
    """

    x0: Tensor
    eps: Tensor
    var_fraction: Tensor | None = None


def consistent(process: NoiseProcess, x_t: Tensor, x0: Tensor, t: Tensor) -> Estimate:
    """The estimate with data `x0` [B, ...] and ε = (x_t - α x0)/σ, at `x_t` [B, ...] and `t` [B]."""
    alpha, sigma = per_sample(process.alpha(t), x_t), per_sample(process.sigma(t), x_t)
    return Estimate(x0, (x_t - alpha * x0) / sigma)


class Prediction(Validated):
    """The registry kind `prediction`: the coefficients (a, b) of the target a x0 + b ε."""

    def coefficients(self, process: NoiseProcess, t: Tensor) -> tuple[Tensor, Tensor]:
        """(a, b), float64, of the shape of `t`."""
        raise NotImplementedError

    def determinant(self, process: NoiseProcess, t: Tensor) -> Tensor:
        """D = α b - σ a, of the shape of `t` [...]; an output error e causes errors -σ e/D of x0 and α e/D of ε."""
        a, b = self.coefficients(process, t)
        return process.alpha(t) * b - process.sigma(t) * a

    def target(self, process: NoiseProcess, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """a x0 + b ε for `x0`, `eps` [B, ...] and `t` [B]."""
        a, b = self.coefficients(process, t)
        return per_sample(a, x0) * x0 + per_sample(b, x0) * eps

    def decode(self, process: NoiseProcess, x_t: Tensor, output: Tensor, t: Tensor) -> Estimate:
        """x0 and ε from `x_t` and the network's `output`, both [B, ...], at `t` [B]."""
        a, b = self.coefficients(process, t)
        alpha, sigma = process.alpha(t), process.sigma(t)
        det = alpha * b - sigma * a
        x0 = per_sample(b / det, x_t) * x_t - per_sample(sigma / det, x_t) * output
        eps = per_sample(alpha / det, x_t) * output - per_sample(a / det, x_t) * x_t
        return Estimate(x0, eps)

    def check(self, process: NoiseProcess) -> None:
        """Raises ValueError if the 2x2 system is singular at a time between `t_min_trained` and `t_max`."""
        t = torch.linspace(process.t_min_trained, process.t_max, 257, dtype=torch.float64)
        inner = process.time(torch.linspace(*process.log_snr_range, 257, dtype=torch.float64))
        t = torch.cat([t, inner.clamp(process.t_min_trained, process.t_max)]).sort().values
        with torch.no_grad():
            a, b = self.coefficients(process, t)
            scale = torch.hypot(process.alpha(t), process.sigma(t)) * torch.hypot(a, b)
            sine = self.determinant(process, t) / scale
        regular = (sine.abs() > 1e-6) & (sine.sign() == sine[0].sign())
        if not regular.all():
            time = t[~regular][0].item()
            raise ValueError(
                f"{type(self).__name__} does not determine x0 and eps at t={time:.4g} of {type(process).__name__};"
                " predict v, or end the process before its signal is gone"
            )


@dataclass(frozen=True)
class EpsPrediction(Prediction):
    """Noise prediction: F = ε (Ho et al. 2020)."""

    def coefficients(self, process: NoiseProcess, t: Tensor) -> tuple[Tensor, Tensor]:
        one = torch.ones_like(process.alpha(t))
        return torch.zeros_like(one), one


@dataclass(frozen=True)
class X0Prediction(Prediction):
    """Data prediction: F = x0."""

    def coefficients(self, process: NoiseProcess, t: Tensor) -> tuple[Tensor, Tensor]:
        one = torch.ones_like(process.alpha(t))
        return one, torch.zeros_like(one)


@dataclass(frozen=True)
class VPrediction(Prediction):
    """v-prediction: F = (α ε - σ x0)/√(α² + σ²) (Salimans and Ho 2022), for any process; D = √(α² + σ²) is never 0."""

    def coefficients(self, process: NoiseProcess, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = process.alpha(t), process.sigma(t)
        norm = torch.hypot(alpha, sigma)
        return -sigma / norm, alpha / norm


@dataclass(frozen=True)
class FlowPrediction(Prediction):
    """Flow matching: F = dx_t/dt = α' x0 + σ' ε, the velocity (Lipman et al. 2023)."""

    def coefficients(self, process: NoiseProcess, t: Tensor) -> tuple[Tensor, Tensor]:
        return process.alpha_rate(t), process.sigma_rate(t)


@dataclass(frozen=True)
class KarrasPrediction(Prediction):
    """EDM preconditioning: F in x0 = c_skip x_t + c_out F (Karras et al. 2022, table 1), for any process.

    With V = α² sigma_data² + σ²: F = (σ/sigma_data x0 - α sigma_data ε)/√V, of unit variance for data of
    standard deviation `sigma_data`; D = -√V/sigma_data.
    """

    sigma_data: SigmaData = 1.0

    def coefficients(self, process: NoiseProcess, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = process.alpha(t), process.sigma(t)
        norm = torch.hypot(alpha * self.sigma_data, sigma)
        return sigma / self.sigma_data / norm, -alpha * self.sigma_data / norm
