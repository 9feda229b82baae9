"""Loss weightings by noise level. A weight multiplies the squared error of the network output F.

An error e of F corresponds to errors (α/D) e of ε and (σ/D) e of x0, with the determinant D of the prediction. A weight
w of the ε-error is therefore w (α/D)² for F, and a weighting "per unit of log-SNR" is divided by the training density
of the log-SNR.
"""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from genmods.core.settings import Channels, Positive, SigmaData, Validated
from genmods.diffusion.densities import TimeDensity
from genmods.diffusion.prediction import Prediction
from genmods.diffusion.process import NoiseProcess


class NoiseLevel(NamedTuple):
    """The noise levels of a batch.

    Attributes:
        log_snr: The log-SNR [B], float64 like all others.
        density: The training density of the log-SNR [B].
        eps_gain: (α/D)² [B], the squared ε-error for a unit error of F.
        x0_gain: (σ/D)² [B], the squared x0-error for a unit error of F.
        elbo: The weight [B] of the squared error of F in the diffusion term of the ELBO, in nats per pixel.
    """

    log_snr: Tensor
    density: Tensor
    eps_gain: Tensor
    x0_gain: Tensor
    elbo: Tensor

    @classmethod
    def at(cls, process: NoiseProcess, prediction: Prediction, t: Tensor, density: TimeDensity) -> NoiseLevel:
        """The levels at times `t` [B]."""
        det = prediction.determinant(process, t).square()
        eps_gain, x0_gain = process.alpha(t).square() / det, process.sigma(t).square() / det
        per_log_snr = density.log_snr_density(process, t)
        if process.levels is None:
            elbo = 0.5 * eps_gain / per_log_snr
        else:
            elbo = 0.5 * x0_gain * _snr_fall(process, process.levels.to(t.device), t)
            elbo = elbo / (per_log_snr * process.log_snr_rate(t).abs())
        return cls(process.log_snr(t), per_log_snr, eps_gain, x0_gain, elbo)


def _snr_fall(process: NoiseProcess, levels: Tensor, t: Tensor) -> Tensor:
    """The decrease of the SNR per unit of time in the step between each level `t` [B] and the previous one.

    0 for the first level, whose step to the data is the reconstruction term of the ELBO.
    """
    i = torch.searchsorted(levels, t * (1 - 1e-9))
    before, after = levels[(i - 1).clamp_min(0)], levels[i]
    fall = process.log_snr(before).exp() - process.log_snr(after).exp()
    return torch.where(i > 0, fall / (after - before), 0.0)


class Weighting(Validated, nn.Module):
    """The registry kind `weighting`: computes the losses of a batch from its errors."""

    bounds_likelihood: ClassVar[bool] = False
    """Whether the loss is the diffusion term of a likelihood bound."""
    per_log_snr: ClassVar[bool] = False
    """Whether the expected loss depends on the range of the log-SNR only, not on its density in training."""

    def weight(self, level: NoiseLevel) -> Tensor:
        """The weight [B] of the squared error of F."""
        raise NotImplementedError

    def forward(self, level: NoiseLevel, error: Tensor) -> Tensor:
        """The losses [B] for `error` [B], the mean squared errors of the output F of each sample."""
        return self.weight(level).to(error) * error


class SimpleWeighting(Weighting):
    """Weight 1 for the network output, as each prediction was published (Ho et al. 2020, equation 14)."""

    def weight(self, level: NoiseLevel) -> Tensor:
        return torch.ones_like(level.log_snr)


class ElboWeighting(Weighting):
    """The diffusion term of the ELBO in nats per pixel (Kingma et al. 2021): ½ for the ε-error per unit of log-SNR; on
    a discrete process ½ T (SNR_s - SNR_t) for the x0-error of each of the T steps except the last, the
    reconstruction."""

    bounds_likelihood: ClassVar[bool] = True
    per_log_snr: ClassVar[bool] = True

    def weight(self, level: NoiseLevel) -> Tensor:
        return level.elbo


class SigmoidWeighting(Weighting):
    """½ S(bias - log-SNR) for the ε-error per unit of log-SNR (Kingma and Gao 2023; Hoogeboom et al. 2024).

    Args:
        bias: The log-SNR at which the weight is half that of the ELBO.
    """

    per_log_snr: ClassVar[bool] = True

    def __init__(self, bias: float = 0.0):
        super().__init__()
        self.bias = bias

    def weight(self, level: NoiseLevel) -> Tensor:
        return 0.5 * torch.sigmoid(self.bias - level.log_snr) * level.eps_gain / level.density


class MinSNRWeighting(Weighting):
    """Min-SNR: min(1, gamma/SNR) for the ε-error (Hang et al. 2023), which is min(SNR, gamma) for the x0-error."""

    def __init__(self, gamma: Positive = 5.0):
        super().__init__()
        self.gamma = gamma

    def weight(self, level: NoiseLevel) -> Tensor:
        return torch.exp(level.log_snr).clamp(max=self.gamma) * level.x0_gain


class EDMWeighting(Weighting):
    """(s² + σ_data²)/(s σ_data)² for the x0-error, s = σ/α: 1 for the output of `karras` (Karras et al. 2022)."""

    def __init__(self, sigma_data: SigmaData = 1.0):
        super().__init__()
        self.sigma_data = sigma_data

    def weight(self, level: NoiseLevel) -> Tensor:
        return level.eps_gain + level.x0_gain / self.sigma_data**2


class EDM2Weighting(EDMWeighting):
    """The weight of EDM with a learned log-variance u per noise level: w e/exp(u) + u (Karras et al. 2024, equation
    14).

    u is linear in `channels` random Fourier features of the log-SNR, and is trained with the network.
    """

    def __init__(self, sigma_data: SigmaData = 1.0, channels: Channels = 128):
        super().__init__(sigma_data)
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("frequency", torch.randn(channels, generator=generator))
        self.register_buffer("phase", torch.rand(channels, generator=generator))
        self.linear = nn.Linear(channels, 1, bias=False)
        nn.init.zeros_(self.linear.weight)

    frequency: Tensor
    phase: Tensor

    def log_variance(self, log_snr: Tensor) -> Tensor:
        """u [B] at `log_snr` [B]."""
        angle = 2 * math.pi * (log_snr.to(self.frequency)[:, None] / 8 * self.frequency + self.phase)
        return self.linear(math.sqrt(2) * angle.cos()).squeeze(1)

    def forward(self, level: NoiseLevel, error: Tensor) -> Tensor:
        log_variance = self.log_variance(level.log_snr).to(error)
        return super().forward(level, error) * torch.exp(-log_variance) + log_variance
